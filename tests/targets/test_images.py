"""Images on their way to a registry: pushed by buildah to a real one on loopback, named by what it has."""

import hashlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from millrace.errors import UserError
from targets import images
from tests.bentos.running import free_port
from tests.containers import run

IMAGE = "houses:1f2e3d4c5b6a-01234567"


@pytest.fixture(scope="module")
def registry(store: Path) -> Iterator[str]:
    """The address of a registry, to which this module's buildah speaks HTTP."""
    address = f"127.0.0.1:{free_port()}"
    configuration = store / "registry.yml"
    configuration.write_text(
        yaml.safe_dump(
            {
                "version": 0.1,
                "log": {"level": "error"},
                "storage": {"filesystem": {"rootdirectory": str(store / "registry")}},
                "http": {"addr": address},
            }
        )
    )
    client = store / "registries.conf"
    client.write_text(f'[[registry]]\nlocation = "{address}"\ninsecure = true\n')
    with (store / "registry.log").open("wb") as log:
        served = subprocess.Popen(["docker-registry", "serve", configuration], stdout=log, stderr=log)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_REGISTRIES_CONF", str(client))
        deadline = time.monotonic() + 20
        while not _answers(address):
            assert time.monotonic() < deadline, (store / "registry.log").read_text()
            time.sleep(0.1)
        yield address
    served.terminate()
    served.wait(10)


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/v2/", trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def image(store: Path) -> str:
    """An image with one file."""
    file = store / "content"
    file.write_text("something")
    container = run("buildah", "from", "scratch").strip()
    run("buildah", "add", "--quiet", container, str(file), "/content")
    run("buildah", "commit", "--quiet", "--rm", container, IMAGE)
    return IMAGE


def test_it_is_named_by_the_digest_that_the_registry_has(image: str, registry: str) -> None:
    name = images.push(image, f"{registry}/team")
    repository, _, digest = name.partition("@")
    assert repository == f"{registry}/team/houses"
    tag = image.partition(":")[2]
    kinds = ("docker.distribution.manifest.v2", "oci.image.manifest.v1")
    accept = {"Accept": ", ".join(f"application/vnd.{kind}+json" for kind in kinds)}
    kept = httpx.get(f"http://{registry}/v2/team/houses/manifests/{tag}", headers=accept, trust_env=False)
    assert kept.status_code == 200
    assert digest == f"sha256:{hashlib.sha256(kept.content).hexdigest()}"
    # And it can be had by that name alone.
    run("buildah", "pull", "--quiet", name)


def test_a_registry_that_is_not_there_is_a_sentence(image: str) -> None:
    away = f"127.0.0.1:{free_port()}"
    with pytest.raises(UserError, match=r"buildah push .* failed:\n.*connection refused"):
        images.push(image, away)


def test_no_builder_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILDER", "no-such-builder")
    with pytest.raises(UserError, match="Images are built by 'no-such-builder', which is not here"):
        images.build("houses:1")
