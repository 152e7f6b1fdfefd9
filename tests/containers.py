"""Containers in tests: an image store of one's own, builds without a registry, commands that must work."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
# Such a build runs wherever tests do, and reaches the package index as the machine does: by its certificates,
# which are lent to it.
BUILD = ["--isolation", "chroot", "--network", "host", "--volume", "/etc/ssl/certs:/etc/ssl/certs:ro"]
# Nothing that it may do, write or reach, but its volumes and /tmp: podman by itself would let it
# write elsewhere, too.
SHUT = [
    *("--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp", "--network", "none"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
]


@contextmanager
def image_store(folder: Path) -> Iterator[None]:
    """Images and containers in `folder` alone, and settings under which containers run without systemd."""
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
        yield
        run("podman", "rm", "--all", "--force", "--volumes")
        run("podman", "volume", "rm", "--all", "--force")
        run("buildah", "rmi", "--all", "--force")
    # The store mounts its folder onto itself.
    subprocess.run(["umount", folder / "images" / "overlay"], check=False, capture_output=True)


def lent_cache() -> list[str]:
    """Arguments that lend a build uv's cache of this machine: what tests run on need not be fetched again."""
    cache = run(".venv/bin/uv", "cache", "dir").strip()
    os.makedirs(cache, exist_ok=True)
    return ["--volume", f"{cache}:/root/.cache/uv"]


def labels(image: str) -> dict[str, str]:
    """The labels of an image."""
    return dict(inspect(image)["Config"]["Labels"])


def inspect(image: str) -> dict[str, Any]:
    """What podman tells of an image."""
    (about,) = json.loads(run("podman", "image", "inspect", image))
    return dict(about)


def run(*command: str) -> str:
    """What a command says; if it fails, the test fails with all it says."""
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True)
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout
