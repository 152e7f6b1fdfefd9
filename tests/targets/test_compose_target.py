"""Deployments to containers: images built on stand-ins for their bases, run by podman, under docker-compose.

Podman answers Docker's API here; no Docker engine runs where these tests were written.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from run import main as run_command
from tests.conftest import Home
from tests.containers import BUILD, lent_cache, run
from tests.targets.places import Place, two_versions

BASES = ["--build-arg", "DEBIAN=localhost/debian", "--build-arg", "PYTHON=localhost/python"]
PROXY = "localhost/haproxy"
INSTALL = "apt-get update -q && apt-get install -q -y --no-install-recommends haproxy"


@pytest.fixture(scope="module")
def engine(store: Path) -> Iterator[str]:
    """The address at which podman answers Docker's API."""
    address = f"unix://{store}/podman.sock"
    # Containers have the machine's network, as deploy/compose/service.yaml says.
    with (store / "service.log").open("wb") as log:
        service = subprocess.Popen(["podman", "system", "service", "--time", "0", address], stderr=log)
    deadline = time.monotonic() + 20
    while not (store / "podman.sock").exists():
        assert time.monotonic() < deadline, (store / "service.log").read_text()
        time.sleep(0.1)
    yield address
    service.terminate()
    service.wait(20)


@pytest.fixture(scope="module")
def proxy(store: Path) -> str:  # noqa: ARG001
    """A stand-in for HAProxy's image: the same program, as Debian has it."""
    run("bash", "deploy/stand_in_bases.sh", "debian", "python")
    container = run("buildah", "from", "localhost/debian").strip()
    # Packages come from where the machine gets its own.
    lent = ["--volume", "/etc/apt:/etc/apt:ro", "--volume", "/etc/ssl/certs:/etc/ssl/certs:ro"]
    run(
        *("buildah", "run", "--isolation", "chroot", "--network", "host", *lent, container),
        *("sh", "-c", INSTALL),
    )
    run("buildah", "commit", "--quiet", "--rm", container, PROXY)
    return PROXY


@pytest.fixture(scope="module")
def place(
    trained: tuple[Home, Path], engine: str, proxy: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("deployments")
    with two_versions(trained, folder) as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", engine)
        patch.setenv("MILLRACE_PROXY_IMAGE", proxy)
        patch.setenv("BUILD_OPTIONS", " ".join([*BUILD, *lent_cache(), *BASES, "--layers"]))
        patch.setenv("MILLRACE_SERVE_WORKERS", "1")
        place = Place(home, folder, kind="compose", command=["docker-compose"])
        yield place
        containers = run("podman", "ps", "--all", "--quiet").split()
        if containers:
            run("podman", "rm", "--force", "--time", "10", *containers)


def test_a_version_takes_over_without_a_failed_request(place: Place) -> None:
    first = place.deploy("--version", "1")
    assert (first["outcome"], first["before"]) == ("deployed", None)
    found = place.take_over("2", before="1")
    assert found["image"] == found["bento"]
    # The one before is gone.
    services = run("podman", "ps", "--format", '{{index .Labels "com.docker.compose.service"}}').split()
    assert sorted(services) in (["blue", "proxy"], ["green", "proxy"])
    # What is answered is kept where monitoring looks for it.
    assert (place.home.path / "bentoml" / "prediction_log" / "iris.db").is_file()


def test_an_image_of_another_model_never_answers(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    serving = place.target.serving()
    assert serving is not None
    assert serving.version == "2"
    assert serving.image is not None
    found = place.deploy("--version", "1", "--image", serving.image)
    assert (found["code"], found["outcome"]) == (2, "refused")
    assert f"serves the bundle {serving.digest}, not " in found["why"]
    assert "Version 1 was refused, and version 2 still answers" in capsys.readouterr().err
    assert place.version() == "2"


def test_nothing_in_them_may_be_written_or_is_roots(place: Place) -> None:
    assert place.version() == "2"
    for container in run("podman", "ps", "--quiet").split():
        shape = (
            "{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.Privileged}} {{.EffectiveCaps}} {{.Config.User}}"
        )
        shut = run("podman", "inspect", "--format", shape, container).split()
        assert shut == ["true", "false", "[]", f"{os.getuid()}:{os.getgid()}"]


def test_stopped_no_container_stays(place: Place) -> None:
    assert run_command([*place.command("--stop")]) == 0
    assert run("podman", "ps", "--all", "--quiet") == ""
    assert place.target.serving() is None


def test_without_an_engine_a_sentence(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    assert place.deploy("--version", "2")["code"] == 2
    said = capsys.readouterr().err
    assert "error: Compose cannot do '" in said
    assert "Traceback" not in said
