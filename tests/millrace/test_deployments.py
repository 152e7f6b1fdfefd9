"""What is kept of deployments, in a real MLflow, and where a roll-back goes by it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.deployments import Deployment, Deployments, experiment_name
from millrace.registry import Registry

START = datetime(2026, 1, 1, tzinfo=UTC)
BENTO = "houses:1f2e3d4c5b6a-01234567"


def deployed(version: str, number: int = 0, **more: object) -> Deployment:
    about: dict[str, object] = {
        "problem": "houses",
        "stack": "local",
        "target": "here",
        "url": "http://here",
        "outcome": "deployed",
        "why": "3 requests",
        "version": version,
        "digest": "d",
        "bento": BENTO,
        "image": None,
        "before": None,
        "commit": None,
        "model_commit": "c",
        "data_digest": "e",
        "run_id": "r",
        "by": "me",
        "at": START + timedelta(hours=number),
        "seconds": 1.5,
    }
    return Deployment.model_validate(about | more)


@pytest.fixture
def deployments(tmp_path: Path) -> Deployments:
    return Deployments(Registry("houses", f"sqlite:///{tmp_path}/mlflow.db"))


@pytest.fixture
def keep(deployments: Deployments, tmp_path: Path) -> "Keeper":
    return Keeper(deployments, tmp_path)


class Keeper:
    """Keeps deployments as the pipeline does, in runs begun for them."""

    def __init__(self, deployments: Deployments, folder: Path) -> None:
        self._deployments = deployments
        self._client = deployments._client
        location = (folder / "artifacts").as_uri()
        self._experiment = self._client.create_experiment(experiment_name("houses"), location)

    def __call__(self, deployment: Deployment) -> None:
        started = int(deployment.at.timestamp() * 1000)
        run = self._client.create_run(self._experiment, started)
        self._deployments.record(deployment, run.info.run_id)


def test_nothing_is_known_before_the_first(deployments: Deployments) -> None:
    assert deployments.done("here") == []
    assert deployments.before("here", None) is None
    assert deployments.image_of(BENTO, "registry/houses") is None


def test_what_is_refused_is_kept_whatever_its_candidate_has_said(
    deployments: Deployments, keep: Keeper
) -> None:
    """MLflow takes no parameter of more than 6,000 characters, and a log may have longer lines."""
    keep(deployed("1", outcome="refused", why="x" * 100_000))
    assert deployments.done("here") == []


def test_an_image_is_found_where_it_was_pushed(deployments: Deployments, keep: Keeper) -> None:
    pushed = f"registry:5000/houses@sha256:{'a' * 64}"
    keep(deployed("1", outcome="refused", image=pushed))
    assert deployments.image_of(BENTO, "registry:5000/houses") == pushed
    # A variant for Lambda is another image, and another Bento has another.
    assert deployments.image_of(BENTO, "registry:5000/houses-lambda") is None
    assert deployments.image_of("houses:2", "registry:5000/houses") is None


def test_what_is_deployed_comes_back_as_it_was(deployments: Deployments, keep: Keeper) -> None:
    client = deployments._registry.client
    client.create_registered_model("houses")
    client.create_model_version("houses", "file:///nowhere")
    first, second = deployed("1"), deployed("1", 1, before="1", requests=12, going_back=True)
    keep(first)
    keep(second)
    keep(deployed("1", 2, target="there"))
    assert deployments.done("here") == [second, first]
    tags = client.get_model_version("houses", "1").tags
    assert tags["deployed_on.here"] == "2026-01-01 01:00 UTC, by me"


class Told(Deployments):
    """Deployments of one target, newest first, that are told and not looked up."""

    def __init__(self) -> None:
        self.told: list[Deployment] = []

    def done(self, target: str) -> list[Deployment]:
        assert target == "here"
        return self.told


@given(st.lists(st.one_of(st.sampled_from(["1", "2", "3"]), st.none()), max_size=12))
def test_a_roll_back_takes_back_the_last_step_that_is_not_taken_back(steps: list[str | None]) -> None:
    """Versions that are deployed, and `None` for a roll-back, beside a stack that does the same."""
    deployments, stack = Told(), []
    for number, version in enumerate(steps):
        serving = stack[-1] if stack else None
        before = deployments.before("here", serving)
        assert (before and before.version) == (stack[-2] if len(stack) > 1 else None)
        if version is None:
            if before is None:
                continue
            stack.pop()
            deployments.told.insert(0, deployed(before.version, number, going_back=True))
        else:
            if version != serving:
                stack.append(version)
            deployments.told.insert(0, deployed(version, number))


def test_where_nothing_serves_the_last_one_comes_back() -> None:
    deployments = Told()
    deployments.told = [deployed("2", 1), deployed("1")]
    found = deployments.before("here", None)
    assert found is not None
    assert found.version == "2"
