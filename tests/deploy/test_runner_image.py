"""The container image of the pipelines: built by deploy/runner_image.sh on a stand-in for its base, and run.

Shut in, it trains a model; what a training does is tested elsewhere.
"""

import json
import subprocess
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from bentos.labels import OCI
from tests.conftest import QUICK
from tests.containers import BUILD, SHUT, image_store, inspect, labels, lent_cache, run
from tests.materials import INSTALLED, READ, locked, materials

ROOT = Path(__file__).parent.parent.parent
NAME = "localhost/millrace-runner"
STATE = ("--volume", "millrace:/millrace/.millrace")
LARGEST = 2.1e9
"""Bytes that the image may have, as `podman images` counts them."""
IMPORT = """
import importlib, pkgutil, sys
import run
from stacks import environment
environment.prepare()
# The one is a service, and the others need PyTorch, which is not locked.
other = {"bentos.service", "millrace.models.network", "millrace.models.neighbour_network"}
folders = [(f"/millrace/{root}", f"{root}.") for root in sys.argv[1:]]
found = [module.name for folder, root in folders for module in pkgutil.walk_packages([folder], root)]
for name in found:
    if name not in other and not name.endswith("__main__"):
        importlib.import_module(name)
print(len(found))
"""
LOOK = """
import json, os
places = ("/", "/millrace", "/millrace/configs", "/millrace/.venv", "/tmp", "/var/tmp", "/millrace/.millrace")
print(json.dumps({
    "user": [os.getuid(), os.getgid()],
    "writable": [place for place in places if os.access(place, os.W_OK)],
    "outside": sorted(name for name in os.listdir("/millrace") if name[0] not in "._"),
}))
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What the image begins with, by its digest, in an image store of this module's own."""
    with image_store(tmp_path_factory.mktemp("containers")):
        run("bash", "deploy/stand_in_bases.sh", "python-slim")
        yield f"localhost/python-slim@{inspect('localhost/python-slim')['Digest']}"


@pytest.fixture(scope="module")
def image(base: str) -> str:
    """The name of the built image."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_URL", "https://git.example.org/millrace")
        run("bash", "deploy/runner_image.sh", *BUILD, *lent_cache(), f"--build-arg=PYTHON={base}")
    return f"{NAME}:latest"


def runner(image: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """What the image's own command does with arguments; its state stays in a volume."""
    command = ["podman", "run", "--rm", *SHUT, *STATE, image, *arguments]
    return subprocess.run(command, text=True, capture_output=True)


def python(image: str, *arguments: str) -> str:
    """What Python in the image says to arguments."""
    return run("podman", "run", "--rm", *SHUT, "--entrypoint", ".venv/bin/python", image, *arguments)


@pytest.fixture(scope="module")
def trained(image: str) -> str:
    """The name of the image, in which a model has been trained."""
    done = runner(image, "--pipeline", "training", *QUICK)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "champion" in done.stdout
    return image


def test_it_trains_and_goes_on_from_what_it_keeps(trained: str) -> None:
    """In another container, of the same volume: nothing is new, so there is no new version."""
    done = runner(trained, "--pipeline", "training", *QUICK)
    assert done.returncode == 0, done.stderr
    assert "version 1" in done.stdout
    assert "version 2" not in done.stdout


def test_what_is_trained_in_it_names_the_commit_that_it_is_built_from(trained: str) -> None:
    """There is no git and no checkout in it."""
    find = "import glob; print(open(glob.glob('/m/bentoml/models/*/*/bundle/provenance.json')[0]).read())"
    mount = ("--volume", "millrace:/m:ro", "--entrypoint", ".venv/bin/python")
    provenance = json.loads(run("podman", "run", "--rm", *SHUT, *mount, trained, "-c", find))
    assert provenance["git_revision"] == labels(trained)[f"{OCI}.revision"]


def test_all_that_it_may_have_to_import_is_in_it(image: str, tmp_path: Path) -> None:
    """Every module of ours that no other program starts; ZenML wants the program to lie beside them."""
    program = tmp_path / "every.py"
    program.write_text(IMPORT)
    roots = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]
    entry = ("--volume", f"{program}:/millrace/every.py:ro", "--entrypoint", ".venv/bin/python")
    said = run("podman", "run", "--rm", *SHUT, *STATE, *entry, image, "every.py", *roots)
    assert int(said) > 200


def test_what_the_user_can_mend_is_a_sentence(image: str) -> None:
    done = runner(image, "--pipeline", "training", "--problem", "california_hosing")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("time=")]
    assert line.startswith("error: Unknown problem 'california_hosing'. Did you mean 'california_housing'?")


def test_it_is_nobody_and_writes_nowhere_but_to_its_state(image: str) -> None:
    command = ["podman", "run", "--rm", *SHUT, *STATE, "--entrypoint", ".venv/bin/python", image, "-c", LOOK]
    found = json.loads(run(*command))
    assert found.pop("user") == [10001, 10001]
    assert found.pop("writable") == ["/tmp", "/millrace/.millrace"]
    assert found.pop("outside") == sorted(
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    )


def test_it_says_what_it_is_and_where_it_comes_from(image: str, base: str) -> None:
    told = labels(image)
    name, _, digest = base.partition("@")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert told.pop("io.buildah.version")
    committed = datetime.fromtimestamp(int(run("git", "log", "-1", "--format=%ct")), UTC)
    assert datetime.fromisoformat(told.pop(f"{OCI}.created")) == committed
    assert told == {
        f"{OCI}.title": "millrace-runner",
        f"{OCI}.version": project["version"],
        f"{OCI}.revision": run("git", "describe", "--always", "--abbrev=40", "--dirty").strip(),
        f"{OCI}.source": "https://git.example.org/millrace",
        f"{OCI}.licenses": project["license"],
        f"{OCI}.base.name": name,
        f"{OCI}.base.digest": digest,
    }
    assert inspect(f"{NAME}:{project['version']}")["Id"] == inspect(image)["Id"]


def test_a_job_has_no_health_check(image: str) -> None:
    assert inspect(image).get("HealthCheck") in (None, {"Test": ["NONE"]})


def test_its_bill_names_all_libraries_that_are_in_it_and_no_other(image: str) -> None:
    bill = materials(python(image, "-c", READ, "/sbom.cdx.json"))
    installed = json.loads(python(image, "-c", INSTALLED))
    assert bill == {canonicalize_name(name): version for name, version in installed.items()}
    assert bill == locked("bootstrap", "run")


def test_it_is_no_larger_than_it_was(image: str) -> None:
    size = inspect(image)["Size"]
    print(f"{image}: {size / 1e6:.0f} MB")
    assert size < LARGEST


def test_nothing_of_the_machine_stays_in_it(image: str) -> None:
    described = run("podman", "image", "inspect", image) + run("podman", "history", "--no-trunc", image)
    assert "PIP_INDEX_URL" not in described
    assert str(Path.home() / ".cache") not in described
