"""The container image of a Bento: built by deploy/image.sh on stand-ins for its bases, and run, shut in."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from bentos.build import build_bento, store_model
from bentos.labels import OCI
from millrace.bundle import verify
from tests.containers import BUILD, SHUT, image_store, inspect, labels, lent_cache, run
from tests.materials import INSTALLED, READ, locked, materials

NAME = "served_houses"
HOUSE = {"area (m2)": 80, "rooms": 3, "district": "north", "new": False}
LARGEST = 450e6
"""Bytes that the image may have, as `podman images` counts them."""
PATIENCE = 180
"""Seconds that a start may take."""
NOBODY = "65532"
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
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An image store of this module's own."""
    with image_store(tmp_path_factory.mktemp("containers")):
        yield


@pytest.fixture(scope="module")
def base(store: None) -> str:  # noqa: ARG001
    """What the image begins with, by its digest."""
    run("bash", "deploy/stand_in_bases.sh", "debian", "python")
    return f"localhost/python@{inspect('localhost/python')['Digest']}"


@pytest.fixture(scope="module")
def image(base: str, bentoml_home: Path, houses_folder: Path) -> str:  # noqa: ARG001
    """The name of the built image."""
    tag = build_bento(store_model(houses_folder, NAME, verify(houses_folder), "3"))
    bases = ["--build-arg", "DEBIAN=localhost/debian", "--build-arg", f"PYTHON={base}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_URL", "https://me:secret@git.example.org/millrace")
        run("bash", "deploy/image.sh", tag, *BUILD, *lent_cache(), *bases)
    return f"localhost/{tag}"


@pytest.fixture(scope="module")
def container(image: str) -> str:
    """A running container with nothing that it may do, write or reach, but its volume."""
    container = run("podman", "run", "--detach", *SHUT, "--volume", "houses:/state", image).strip()
    deadline = time.monotonic() + PATIENCE
    # The health check of the image itself.
    while subprocess.run(["podman", "healthcheck", "run", container], capture_output=True).returncode:
        if time.monotonic() > deadline:
            pytest.fail(f"The service did not become ready:\n{run('podman', 'logs', container)}")
        time.sleep(1)
    return container


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


def test_it_says_what_it_is_and_where_it_comes_from(image: str, base: str, houses_folder: Path) -> None:
    told = labels(image)
    assert run("git", "describe", "--always", "--abbrev=40", "--dirty").strip() == told.pop(f"{OCI}.revision")
    name, _, digest = base.partition("@")
    # A moment, with its offset from UTC.
    assert datetime.fromisoformat(told.pop(f"{OCI}.created")).tzinfo
    assert told.pop("io.buildah.version")
    assert told == {
        f"{OCI}.title": NAME,
        f"{OCI}.version": image.partition(":")[2],
        f"{OCI}.source": "https://git.example.org/millrace",
        f"{OCI}.licenses": "Apache-2.0",
        f"{OCI}.base.name": name,
        f"{OCI}.base.digest": digest,
        "dev.millrace.problem": NAME,
        "dev.millrace.bundle.digest": verify(houses_folder),
        "dev.millrace.model.version": "3",
    }


def test_its_bill_names_all_libraries_that_are_in_it_and_no_other(container: str) -> None:
    bill = materials(run("podman", "exec", container, "python", "-c", READ, "/sbom.cdx.json"))
    installed = json.loads(run("podman", "exec", container, "python", "-c", INSTALLED))
    assert bill == {canonicalize_name(name): version for name, version in installed.items()}
    assert bill == locked("serve")


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
    found = files("localhost/python")
    assert found
    assert found == files(image)


def test_it_ends_in_order_when_told_to(container: str) -> None:
    """Last of all: the container is gone afterwards."""
    run("podman", "stop", "--time", str(PATIENCE), container)
    assert run("podman", "inspect", "--format", "{{.State.ExitCode}}", container) == "0\n"
    said = subprocess.run(["podman", "logs", container], text=True, capture_output=True, check=True)
    lines = (said.stdout + said.stderr).splitlines()
    assert lines
    assert [line for line in lines if not re.match(r"\S+ \[INFO\] ", line)] == []
