"""The container image of a Bento: built by deploy/image.sh on stand-ins for its bases, and run, shut in."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bentos.build import build_bento, store_model
from millrace.bundle import verify

ROOT = Path(__file__).parent.parent.parent
NAME = "served_houses"
HOUSE = {"area (m2)": 80, "rooms": 3, "district": "north", "new": False}
LARGEST = 450e6
"""Bytes that the image may have, as `podman images` counts them."""
PATIENCE = 180
"""Seconds that a start may take."""
NOBODY = "65532"
# Such a build runs wherever tests do, and reaches the package index as the machine does: by its certificates,
# which are lent to it.
BUILD = ["--isolation", "chroot", "--network", "host", "--volume", "/etc/ssl/certs:/etc/ssl/certs:ro"]
BASES = ["--build-arg", "DEBIAN=localhost/debian", "--build-arg", "PYTHON=localhost/python"]
ASK = """
import sys, urllib.request
request = urllib.request.Request("http://127.0.0.1:3000/v1/predict", sys.argv[1].encode())
request.add_header("Content-Type", "application/json")
print(urllib.request.urlopen(request).read().decode())
"""
LOOK = """
import json, os, pathlib, shutil, sys
libraries = pathlib.Path("/opt/service/lib/python3.11/site-packages")
programs = ("sh", "bash", "apt-get", "pip", "uv", "cc", "gcc", "ld")
print(json.dumps({
    "programs": [name for name in programs if shutil.which(name)],
    "tests": [str(path) for path in libraries.rglob("tests")],
    "installers": [str(path) for name in ("pip", "setuptools") for path in libraries.glob(name)],
    "writable": [path for path in ("/", "/bento", "/opt", "/opt/service") if os.access(path, os.W_OK)],
    "state": sorted(path.name for path in pathlib.Path("/state/prediction_log").glob("*.db")),
}))
"""
# Where a build may leave what it was lent.
LENT = ("etc/ssl", "etc/xdg", "root", "usr/local", "usr/share/ca-certificates")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An image store of this module's own, and settings under which containers run without systemd."""
    folder = tmp_path_factory.mktemp("containers")
    storage, engine = folder / "storage.conf", folder / "containers.conf"
    storage.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/images"\nrunroot = "{folder}/run"\n'
    )
    engine.write_text(
        '[containers]\ndefault_ulimits = []\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        'runtime = "runc"\n'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_STORAGE_CONF", str(storage))
        patch.setenv("CONTAINERS_CONF", str(engine))
        patch.setenv("BUILDER", "buildah")
        yield folder
        run("podman", "rm", "--all", "--force", "--volumes")
        run("buildah", "rmi", "--all", "--force")
    # The store mounts its folder onto itself.
    subprocess.run(["umount", folder / "images" / "overlay"], check=False, capture_output=True)


@pytest.fixture(scope="module")
def image(store: Path, bentoml_home: Path, houses_folder: Path) -> str:  # noqa: ARG001
    """The name of the built image."""
    tag = build_bento(store_model(houses_folder, NAME, verify(houses_folder), "3"))
    run("bash", "deploy/stand_in_bases.sh")
    run("bash", "deploy/image.sh", tag, *BUILD, *BASES)
    return f"localhost/{tag}"


@pytest.fixture(scope="module")
def container(image: str) -> str:
    """A running container with nothing that it may do, write or reach, but its volume."""
    shut = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "none"]
    container = run("podman", "run", "--detach", *shut, "--volume", "houses:/state", image).strip()
    deadline = time.monotonic() + PATIENCE
    # The health check of the image itself.
    while subprocess.run(["podman", "healthcheck", "run", container], capture_output=True).returncode:
        if time.monotonic() > deadline:
            pytest.fail(f"The service did not become ready:\n{run('podman', 'logs', container)}")
        time.sleep(1)
    return container


def run(*command: str) -> str:
    """What a command says; if it fails, the test fails with all it says."""
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


def files(image: str) -> list[str]:
    """What an image has in the folders `LENT`."""
    container = run("buildah", "from", image).strip()
    root = Path(run("buildah", "mount", container).strip())
    found = sorted(str(path.relative_to(root)) for folder in LENT for path in (root / folder).rglob("*"))
    run("buildah", "rm", container)
    return found


def test_it_is_small(image: str) -> None:
    size = int(run("podman", "image", "inspect", "--format", "{{.Size}}", image))
    print(f"{image}: {size / 1e6:.0f} MB")
    assert size < LARGEST


def test_it_is_named_by_the_bento(image: str) -> None:
    identity = ["podman", "image", "inspect", "--format", "{{.Id}}"]
    assert run(*identity, image) == run(*identity, f"localhost/{NAME}:latest")


def test_it_predicts(container: str) -> None:
    answer = run("podman", "exec", container, "python", "-c", ASK, json.dumps({"rows": [HOUSE]}))
    assert json.loads(answer)["predictions"][0]["prediction"] > 0
    assert json.loads(answer)["model"]["name"] == NAME


def test_all_its_processes_are_nobodys(container: str) -> None:
    users = run("podman", "top", container, "user").split()[1:]
    assert users == [NOBODY] * 3


def test_it_holds_what_a_service_needs_and_no_more(container: str) -> None:
    found = json.loads(run("podman", "exec", container, "python", "-c", LOOK))
    assert found == {
        "programs": [],
        "tests": [],
        "installers": [],
        "writable": [],
        "state": [f"{NAME}.db"],
    }


def test_nothing_of_the_machine_stays_in_it(image: str) -> None:
    """No settings of pip, no index, no certificates but those of the base."""
    described = run("podman", "image", "inspect", image) + run("podman", "history", "--no-trunc", image)
    assert "PIP_INDEX_URL" not in described
    base, built = (files(name) for name in ("localhost/python", image))
    assert base
    assert base == built


def test_it_ends_in_order_when_told_to(container: str) -> None:
    """Last of all: the container is gone afterwards."""
    run("podman", "stop", "--time", str(PATIENCE), container)
    assert run("podman", "inspect", "--format", "{{.State.ExitCode}}", container) == "0\n"
    said = subprocess.run(["podman", "logs", container], text=True, capture_output=True, check=True)
    lines = (said.stdout + said.stderr).splitlines()
    assert lines
    assert [line for line in lines if not re.match(r"\S+ \[INFO\] ", line)] == []
