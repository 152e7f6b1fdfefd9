"""Deployment to Cloud Run, with a stand-in for gcloud: `gcloud_stand_in.py`, which says what it proves."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from millrace.errors import UserError
from targets.cloud_run import CloudRun
from targets.target import Traffic
from tests.targets.staging_cloud import load, release

URL = "https://california-housing-xyz.a.run.app"
FIRST = {"metadata": {"name": "first"}, "spec": {"containers": [{"image": "hello"}]}}


class Gcloud:
    """What the stand-in knows, and what it was asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        traffic = [{"revisionName": "first", "percent": 100, "latestRevision": True}]
        self.write(
            {
                "service": {"status": {"url": URL, "traffic": traffic}},
                "revisions": {"first": FIRST},
                "requests": [],
            }
        )

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._path.read_text())
        return found

    def write(self, state: dict[str, Any]) -> None:
        self._path.write_text(json.dumps(state))

    @property
    def commands(self) -> list[list[str]]:
        return [json.loads(line) for line in self._path.with_suffix(".commands").read_text().splitlines()]

    def traffic(self) -> list[tuple[str, int | None, str | None]]:
        entries = self.read()["service"]["status"]["traffic"]
        return [(each["revisionName"], each.get("percent"), each.get("tag")) for each in entries]


@pytest.fixture
def gcloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gcloud:
    program = tmp_path / "bin" / "gcloud"
    program.parent.mkdir()
    stand_in = Path(__file__).with_name("gcloud_stand_in.py")
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{stand_in}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setenv("GCLOUD_STAND_IN", str(tmp_path / "state.json"))
    variables = {
        "PROJECT": "ours",
        "REGION": "europe-west3",
        "REGISTRY": "europe-west3-docker.pkg.dev/ours/m",
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"MILLRACE_CLOUD_RUN_{name}", value)
    return Gcloud(tmp_path / "state.json")


def _load() -> CloudRun:
    target = load("cloud-run", "california_housing")
    assert isinstance(target, CloudRun)
    return target


def _release(version: str) -> Any:
    return release(version, "california_housing")


def test_a_revision_takes_over_and_goes_again(gcloud: Gcloud) -> None:
    target = _load()
    assert (target.url, target.serving()) == (URL, None)
    assert target.registry == "europe-west3-docker.pkg.dev/ours/m"
    one = "california-housing-00002-abc"
    assert target.start(_release("1")) == "https://candidate---california-housing-xyz.a.run.app"
    assert gcloud.traffic() == [("first", 100, None), (one, None, "candidate")]
    assert target.serving() is None
    target.switch()
    target.retire()
    assert gcloud.traffic() == [(one, 100, None)]
    assert _load().serving() == _release("1")

    again = _load()
    again.start(_release("2"))
    again.switch()
    assert again.serving() == _release("2")
    again.switch_back()
    again.discard()
    assert gcloud.traffic() == [(one, 100, None)]
    assert again.serving() == _release("1")
    # Nothing to be taken away: gcloud is not asked to.
    before = len(gcloud.commands)
    again.discard()
    assert [command[1:3] for command in gcloud.commands[before:]] == [["services", "describe"]]


def test_a_candidate_never_has_traffic_by_itself(gcloud: Gcloud) -> None:
    _load().start(_release("1"))
    [deploy] = [command for command in gcloud.commands if command[:2] == ["run", "deploy"]]
    assert "--no-traffic" in deploy
    assert deploy[deploy.index("--image") + 1] == _release("1").image


def test_requests_are_counted_in_the_log_since_the_switch(gcloud: Gcloud) -> None:
    target = _load()
    target.start(_release("1"))
    assert target.traffic() == Traffic(0, 0)
    target.switch()
    states = [200, 200, 422, 500, 503]
    requests = [{"httpRequest": {"status": state}} for state in states]
    gcloud.write({**gcloud.read(), "requests": requests})
    assert target.traffic() == Traffic(5, 2)
    question = gcloud.commands[-1][2]
    assert 'resource.labels.revision_name="california-housing-00002-abc"' in question
    assert "timestamp>=" in question


def test_what_cannot_be_done_is_said(gcloud: Gcloud, monkeypatch: pytest.MonkeyPatch) -> None:
    target = _load()
    with pytest.raises(UserError, match="runs images, and this release has none"):
        target.start(_release("1").model_copy(update={"image": None}))
    with pytest.raises(UserError, match="has no candidate"):
        target.switch()
    with pytest.raises(UserError, match="has no revision to go back to"):
        target.switch_back()
    gcloud.write({**gcloud.read(), "refuse": "The user-provided container failed to start and listen"})
    with pytest.raises(UserError, match=r"(?s)gcloud run deploy california-housing failed:.*failed to start"):
        _load_started(target)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="needs gcloud, Google's command line"):
        target.serving()


def _load_started(target: CloudRun) -> None:
    target._live = lambda: "first"  # type: ignore[method-assign]
    target.start(_release("1"))
