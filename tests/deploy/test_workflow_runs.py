"""What workflows do, from event to end, run by act on this machine: see tests/deploy/acting.py."""

import json
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.deploy.acting import House
from tests.deploy.github_api import SESAME, GitHub
from tests.deploy.test_release_programs import service

SECRETS = [
    f"MILLRACE_{stack}_{name}"
    for stack in ("STAGING", "PRODUCTION")
    for name in ("ZENML_API_KEY", "MLFLOW_PASSWORD", "S3_KEY", "S3_SECRET")
]
VARIABLES = {
    "MILLRACE_STAGING_MLFLOW_URL": "https://mlflow.staging",
    "MILLRACE_ECS_CLUSTER": "ours",
    "REGISTRY": "registry.example/ours",
    "REGISTRY_KIND": "ghcr",
}
PROMOTE = ["make registry-login", "make promote"]
PUBLISH = ["make publish", f"cosign sign --yes registry.example/ours/iris@sha256:{'a' * 64}", "make sbom"]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
def github() -> Iterator[GitHub]:
    """GitHub's API."""
    with GitHub() as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield server
        server.shutdown()


def run(house: House, workflow: str, event: str, about: dict[str, Any], github: GitHub | None = None) -> bool:
    """Run a workflow with all variables and secrets that it may have; whether it succeeded."""
    given = {"GITHUB_TOKEN": SESAME, **{name: f"the {name}" for name in SECRETS}}
    api = {"GITHUB_API_URL": f"http://127.0.0.1:{github.server_port}"} if github else {}
    repository = {"full_name": "our/house", "default_branch": "main"}
    code, log = house.run(
        workflow,
        event,
        {"repository": repository, **about},
        variables=VARIABLES,
        secrets=given,
        environment=api,
    )
    assert SESAME not in log
    assert not any(f"the {name}" in log for name in SECRETS)
    return code == 0


def pull_request(house: House, of: str = "our/house") -> dict[str, Any]:
    """A pull request that changes one problem."""
    base = house.git("rev-parse", "HEAD")
    house.commit(**{"configs/problems/iris.yaml": "# changed\n"})
    return {"pull_request": {"number": 7, "head": {"repo": {"full_name": of}}, "base": {"sha": base}}}


def test_a_pull_request_that_changes_a_problem_trains_it_and_is_told(house: House, github: GitHub) -> None:
    house.leave("make train", "training.json", "{}")
    about = pull_request(house)
    for text in ("first", "second"):
        house.say("python -m", f"<!-- millrace: training of iris -->\n### iris\n\n{text}\n")
        assert run(house, "train", "pull_request", about, github)
    assert house.commands[:2] == ["make train", "python -m pipelines.comment training.json staging"]
    assert len(house.commands) == 4
    (body,) = github.bodies("issues/7/comments")
    assert body.endswith("second\n")
    had = house.environment("make train")
    assert (had["PROBLEM"], had["STACK"], had["DATA"]) == ("iris", "staging", "")
    assert had["MILLRACE_STAGING_MLFLOW_URL"] == "https://mlflow.staging"
    assert {name for name in SECRETS if had.get(name) == f"the {name}"} == set(SECRETS[:4])
    assert "GITHUB_TOKEN" not in had or had["GITHUB_TOKEN"] != SESAME


def test_a_pull_request_of_a_fork_trains_nothing(house: House, github: GitHub) -> None:
    assert run(house, "train", "pull_request", pull_request(house, of="mallory/house"), github)
    assert house.commands == []
    assert github.asked == []


def test_a_push_without_problems_trains_nothing(house: House) -> None:
    before = house.git("rev-parse", "HEAD")
    house.commit(**{"README.md": "words\n"})
    assert run(house, "train", "push", {"before": before, "ref": "refs/heads/main"})
    assert house.commands == []


def test_new_data_are_trained_on_when_they_are_told(house: House) -> None:
    house.leave("make train", "training.json", "{}")
    house.say("python -m", "told")
    data = "dvc://.?path=a.csv&rev=$(touch here)"
    payload = {"action": "data", "client_payload": {"problem": "iris housing_sample", "data": data}}
    assert run(house, "train", "repository_dispatch", payload)
    assert house.commands.count("make train") == 2
    assert house.environment("make train")["DATA"] == data


def test_an_unknown_problem_is_refused(house: House) -> None:
    payload = {"action": "data", "client_payload": {"problem": "iris; curl"}}
    assert not run(house, "train", "repository_dispatch", payload)
    assert house.commands == []


def test_a_training_that_fails_is_told_by_the_workflow(house: House, github: GitHub) -> None:
    house.end("make train", 2)
    assert not run(house, "train", "pull_request", pull_request(house), github)
    assert github.asked == []


def test_an_alarm_opens_one_issue(house: House, github: GitHub) -> None:
    house.leave("make monitor", "monitoring.json", "{}")
    house.say("python -m", "<!-- millrace: monitoring of iris -->\n### iris: drift\n\ndrifted\n")
    for _ in range(2):
        assert run(
            house, "monitor", "workflow_dispatch", {"inputs": {"problem": "iris", "since": "7d"}}, github
        )
    assert [entry["title"] for entry in github.entries["issues"]] == ["iris: drift"]
    had = house.environment("make monitor")
    assert (had["PROBLEM"], had["STACK"], had["SINCE"]) == ("iris", "staging", "7d")


def test_without_alarm_there_is_no_issue(house: House, github: GitHub) -> None:
    house.leave("make monitor", "monitoring.json", "{}")
    assert run(house, "monitor", "schedule", {}, github)
    assert house.environment("make monitor")["PROBLEM"] == "housing_sample"
    assert github.asked == []


def test_what_was_judged_is_told_though_the_log_was_not_whole(house: House, github: GitHub) -> None:
    house.leave("make monitor", "monitoring.json", "{}")
    house.end("make monitor", 3)
    house.say("python -m", "<!-- millrace: monitoring of iris -->\n### iris: drift\n\ndrifted\n")
    assert not run(house, "monitor", "schedule", {}, github)
    assert len(github.entries["issues"]) == 1


def test_a_monitoring_that_cannot_begin_fails(house: House, github: GitHub) -> None:
    house.end("make monitor", 2)
    assert not run(house, "monitor", "schedule", {}, github)
    assert house.commands == ["make monitor"]
    assert github.asked == []


def release(house: House, digest: str = "abc", outcome: str = "deployed") -> bool:
    """Run the release of iris to a target where the bundle with this digest answers; whether it succeeded."""
    name = "registry.example/ours/iris"
    lines = {"image": f"{name}@sha256:{'a' * 64}", "name": name, "digest": f"sha256:{'a' * 64}"}
    house.leave("make publish", "image.txt", "".join(f"{key}={value}\n" for key, value in lines.items()))
    house.leave("make promote", "promotion.json", "{}")
    answers = {"/readyz": (200, b""), "/v1/model": (200, json.dumps({"digest": digest}).encode())}
    with service(answers) as url:
        told = {"url": url, "digest": "abc", "version": "3", "problem": "iris", "outcome": outcome}
        house.leave("make deploy", "deployment.json", json.dumps(told))
        inputs = {"problem": "iris", "version": "", "target": "ecs"}
        return run(house, "release", "workflow_dispatch", {"inputs": inputs})


def test_a_release_promotes_signs_and_deploys(house: House) -> None:
    assert release(house)
    assert house.commands == [*PROMOTE, *PUBLISH, "make deploy"]
    promoting, deploying = house.environment("make promote"), house.environment("make deploy")
    assert {name for name in SECRETS if promoting.get(name) == f"the {name}"} == set(SECRETS)
    assert {name for name in SECRETS if deploying.get(name)} == set(SECRETS[4:])
    assert deploying["IMAGE"] == f"registry.example/ours/iris@sha256:{'a' * 64}"
    had = [deploying[name] for name in ("PROBLEM", "TARGET", "STACK")]
    assert had == ["iris", "ecs", "production-client"]
    assert promoting["TO"] == "production-client"
    assert deploying["MILLRACE_ECS_CLUSTER"] == "ours"
    assert not any(name in house.environment("cosign sign") for name in SECRETS)


def test_a_promotion_that_is_refused_ends_the_release(house: House) -> None:
    house.end("make promote", 2)
    assert not release(house)
    assert house.commands == PROMOTE


def test_an_image_that_cannot_be_built_takes_the_promotion_back(house: House) -> None:
    house.end("make publish", 2)
    assert not release(house)
    assert house.commands == [*PROMOTE, "make publish", "make undo-promotion"]
    assert house.environment("make undo-promotion")["SUMMARY"] == "promotion.json"


def test_a_deployment_that_rolled_back_takes_the_promotion_back(house: House) -> None:
    house.end("make deploy", 2)
    assert not release(house, outcome="rolled_back")
    assert house.commands == [*PROMOTE, *PUBLISH, "make deploy", "make undo-promotion"]


def test_a_service_that_is_not_reached_is_rolled_back_with_the_registry(house: House) -> None:
    assert not release(house, digest="another")
    assert house.commands == [*PROMOTE, *PUBLISH, "make deploy", "make roll-back", "make undo-promotion"]


def test_what_was_deployed_before_is_not_rolled_back(house: House) -> None:
    assert not release(house, digest="another", outcome="unchanged")
    assert house.commands == [*PROMOTE, *PUBLISH, "make deploy", "make undo-promotion"]
