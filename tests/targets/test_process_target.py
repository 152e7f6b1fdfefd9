"""Deployments to processes behind HAProxy, for real and under load: who answers, who fails, what is kept."""

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

import run
from millrace import processes
from millrace.bundle import SELFTEST, load_bundle
from millrace.deployments import Deployments
from millrace.packing import seal
from targets.target import Release
from tests.conftest import ROOT, Home
from tests.targets.places import FLOWER, Place, two_versions


@pytest.fixture(scope="module")
def place(trained: tuple[Home, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("deployments")
    with two_versions(trained, folder) as home:
        place = Place(home, folder, kind="process")
        assert [each.version for each in place.registry.versions()] == ["1", "2"]
        try:
            yield place
        finally:
            place.end()


def test_the_first_has_nobody_before_it(place: Place) -> None:
    found = place.deploy()
    assert (found["outcome"], found["version"], found["before"]) == ("deployed", "1", None)
    assert place.version() == "1"
    assert httpx.post(f"{place.url}/v1/predict", json={"rows": [FLOWER]}, trust_env=False).status_code == 200
    # Where monitoring looks for it.
    assert (place.home.path / "bentoml" / "prediction_log" / "iris.db").is_file()


def test_another_version_takes_over_without_a_failed_request(place: Place) -> None:
    place.have("1")
    found = place.take_over("2", before="1")
    # HAProxy has counted the callers' requests, and not only ours.
    assert found["requests"] > found["probes"] > found["failed_probes"] == 0
    assert len(place.services()) == 1


def test_it_is_told_in_mlflow_and_zenml(place: Place) -> None:
    place.have("1")
    found = place.deploy("--version", "2")
    kept = Deployments(place.registry).done("here")[0].model_dump(mode="json")
    # The summary's time is the whole command's.
    told = {name: found[name] for name in kept if name != "seconds"}
    assert told == {name: value for name, value in kept.items() if name != "seconds"}
    assert kept["data_digest"]
    assert kept["commit"]
    assert kept["by"].startswith(f"{psutil.Process().username()}@")
    tags = place.registry.client.get_model_version("iris", "2").tags
    assert tags["deployed_on.here"].endswith(kept["by"])
    assert json.loads(_text(place.registry.client, found["mlflow_run"])) == kept
    from zenml.client import Client

    metadata = Client().get_model_version("iris", "v2").run_metadata
    assert any(name.startswith("deployment here ") for name in metadata)


def _text(client: Any, run_id: str) -> str:
    import mlflow

    return mlflow.artifacts.load_text(f"{client.get_run(run_id).info.artifact_uri}/deployment.json")


def test_again_changes_nothing(place: Place) -> None:
    place.have("1")
    pids = [path.read_text() for path in sorted(place.folder.glob("run/*.json"))]
    runs = len(Deployments(place.registry).done("here"))
    assert place.deploy("--version", "1")["outcome"] == "unchanged"
    assert [path.read_text() for path in sorted(place.folder.glob("run/*.json"))] == pids
    assert len(Deployments(place.registry).done("here")) == runs


def test_back_and_no_further(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.have("1")
    place.have("2")
    found = place.deploy("--roll-back")
    assert (found["outcome"], found["version"], found["before"]) == ("deployed", "1", "2")
    assert place.version() == "1"
    assert run.main([*place.command("--roll-back", "--version", "2")]) == 2
    assert "--version is not for --roll-back" in capsys.readouterr().err


def test_what_predicts_otherwise_than_recorded_never_answers(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bundle that is sealed and registered as it should be, but whose self-test says something else."""
    place.have("1")
    version = _registered_with_another_selftest(place, tmp_path)
    try:
        with place.load().running() as load:
            load.wait_for("1")
            found = place.deploy("--version", version)
        assert (found["code"], found["outcome"], found["version"]) == (2, "refused", version)
        assert "for self-test row 0, where" in found["why"]
        assert f"Version {version} was refused, and version 1 still answers" in capsys.readouterr().err
        assert load.failures == []
        assert set(load.versions) == {"1"}
        assert len(place.services()) == 1
        assert Deployments(place.registry).done("here")[0].version == "1"
    finally:
        place.registry.client.delete_model_version("iris", version)


def _registered_with_another_selftest(place: Place, folder: Path) -> str:
    import mlflow

    from millrace.registry import DIGEST_TAG

    registry = place.registry
    bundle = folder / "bundle"
    shutil.copytree(registry.fetch_bundle("2", folder), bundle)
    recorded = load_bundle(bundle).read(SELFTEST)
    recorded["predictions"].reverse()
    (bundle / SELFTEST).write_text(json.dumps(recorded))
    digest = seal(bundle)
    mlflow.set_tracking_uri(registry.tracking_uri)
    # The default one's artifacts would be in the folder that tests run in.
    mlflow.set_experiment("iris")
    with mlflow.start_run():
        logged = mlflow.pyfunc.log_model(
            name="model", loader_module="millrace.pyfunc", data_path=str(bundle), pip_requirements=[]
        )
    return registry.register(logged.model_id, logged.run_id, {DIGEST_TAG: digest}, "").version


def test_what_cannot_start_never_answers(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.have("1")
    monkeypatch.setenv("MILLRACE_SERVE_API_KEYS", "/nowhere/keys.yaml")
    found = place.deploy("--version", "2")
    assert (found["code"], found["outcome"]) == (2, "refused")
    assert "ended at its start" in found["why"]
    assert "/nowhere/keys.yaml" in found["why"]
    assert place.version() == "1"
    assert len(place.services()) == 1


def test_what_dies_under_traffic_is_taken_back(place: Place) -> None:
    place.have("1")
    with place.load().running() as load:

        def kill() -> None:
            load.wait_for("2")
            releases = {name: (place.folder / f"{name}.json").read_text() for name in place.services()}
            new = next(name for name, text in releases.items() if json.loads(text)["version"] == "2")
            place.kill(new)

        killer = threading.Thread(target=kill)
        killer.start()
        found = place.deploy("--version", "2")
        killer.join()
        answered = load.versions["1"]
        load.versions.clear()
        load.wait_for("1")
    assert answered
    assert (found["code"], found["outcome"], found["version"]) == (2, "rolled_back", "2")
    assert "requests failed; 1.00% may" in found["why"]
    assert place.version() == "1"
    assert len(place.services()) == 1


@pytest.mark.parametrize("line", ["starting the candidate", "switching the traffic", "watching it"])
def test_killed_it_goes_on(place: Place, line: str) -> None:
    """Killed at any moment it leaves somebody who answers, and the same command goes on."""
    place.have("1")
    with place.load().running() as load:
        load.wait_for("1")
        process = place.home.python("run.py", *place.command("--version", "2"))
        for said in process.stderr:
            if said.strip().startswith(line):
                os.kill(process.pid, signal.SIGKILL)
                break
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        assert place.version() in ("1", "2")
        found = place.deploy("--version", "2")
    assert load.failures == []
    assert found["outcome"] == "deployed"
    assert place.version() == "2"
    assert len(place.services()) == 1


def test_two_at_once_are_one_and_a_sentence(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.have("1")
    process = place.home.python("run.py", *place.command("--version", "2"))
    for said in process.stderr:
        if "starting the candidate" in said:
            break
    assert place.deploy("--version", "2")["code"] == 2
    assert "is under way; wait for its end" in capsys.readouterr().err
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert place.version() == "2"


def test_what_is_deployed_is_not_the_latest_bento(place: Place) -> None:
    """A service that watches for other Bentos follows the champion, not a deployment."""
    from bentos.build import latest_model

    champion = place.registry.with_alias("champion")
    place.have("2")
    assert champion is not None
    assert champion.version == "1"
    assert latest_model("iris") == f"iris:{champion.digest[:12]}"


def test_without_haproxy_a_sentence(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    target = place.target
    place.end()
    monkeypatch.setattr("targets.process.PROGRAMS", "/nowhere")
    assert target.serving() is None
    assert place.deploy("--version", "1")["code"] == 2
    assert "needs HAProxy: sudo apt-get install haproxy" in capsys.readouterr().err
    assert place.services() == []


@pytest.mark.parametrize("which", ["port", "blue_port"])
def test_a_port_that_is_taken_is_a_sentence(
    place: Place, which: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place.end()
    # As before the first one, which begins with blue.
    (place.folder / "haproxy.cfg").unlink(missing_ok=True)
    port = yaml.safe_load(place.file.read_text())[which]
    with socket.create_server(("127.0.0.1", port)):
        found = place.deploy("--version", "1")
    assert found["code"] == 2
    assert f"127.0.0.1:{port} is taken by another program" in capsys.readouterr().err
    assert place.services() == []


def test_after_a_reboot_the_same_command_brings_it_back(place: Place) -> None:
    place.have("1")
    for name in place.services():
        place.kill(name)
    processes.running(place.folder / "run" / "proxy.json")[0].kill()
    assert place.target.serving() is None
    place.have("1")
    assert isinstance(place.target.serving(), Release)


def test_stopped_nothing_runs_and_the_next_one_is_as_the_first(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.have("1")
    assert run.main([*place.command("--stop")]) == 0
    assert f"version 1, which answered, has ended; {place.url} is free." in _flat(capsys)
    assert place.services() == []
    with pytest.raises(httpx.ConnectError):
        place.version()
    assert run.main([*place.command("--stop")]) == 0
    assert "nothing answered" in _flat(capsys)
    assert place.deploy("--version", "1")["before"] is None


def test_what_is_not_on_this_machine_is_not_stopped_by_it(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Nor is anything asked for that would reach it.
    monkeypatch.setenv("PATH", "/nowhere")
    file = place.file.with_name("there.yaml")
    there = {"context": "there", "namespace": "iris", "url": "http://127.0.0.1:1", "release": "release"}
    file.write_text(yaml.safe_dump({"kind": "kubernetes", **there}))
    assert run.main(["--pipeline", "deployment", "--problem", "iris", "--target", str(file), "--stop"]) == 2
    assert "is not on this machine" in capsys.readouterr().err


def test_state_of_what_runs_is_not_deleted(tmp_path: Path) -> None:
    state = tmp_path / ".millrace" / "deployments" / "iris" / "process-3000"
    state.mkdir(parents=True)
    (state / "haproxy.cfg").touch()
    command = ["make", "--file", str(ROOT / "Makefile"), "clean"]
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "end it first: make deploy-stop PROBLEM=iris TARGET=process" in refused.stderr
    assert state.is_dir()
    (state / "haproxy.cfg").unlink()
    subprocess.run(command, cwd=tmp_path, check=True)
    assert not (tmp_path / ".millrace").exists()


def _flat(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())
