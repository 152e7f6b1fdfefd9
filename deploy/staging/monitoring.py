"""Prometheus and Alertmanager, with the configuration in deploy/prometheus/."""

import json
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from deploy.staging.programs import find
from deploy.staging.server import Server

CONFIGURATION = Path(__file__).parent.parent / "prometheus"
# In the configuration: how often Prometheus looks, and whom Alertmanager rings.
INTERVAL, RUNG = "15s", "127.0.0.1:3002"
# Where `make serve` answers, and `make scheduler`.
SERVICE = f"127.0.0.1:{os.environ.get('PORT', '3000')}"
SCHEDULER = RUNG


class Place(Protocol):
    """Where servers keep what they have, and on which ports they answer."""

    folder: Path
    ports: dict[str, int]

    def url(self, name: str) -> str:
        """The address of a server that speaks HTTP."""


def prometheus(
    place: Place, service: str = SERVICE, scheduler: str = SCHEDULER, interval: str = INTERVAL
) -> Server:
    """Prometheus, that looks at a service and a scheduler, by addresses in files beside its configuration."""
    folder = place.folder / "prometheus"

    def configure() -> None:
        shutil.copytree(CONFIGURATION, folder / "configuration", dirs_exist_ok=True)
        configuration = folder / "configuration" / "prometheus.yml"
        configuration.write_text(configuration.read_text().replace(INTERVAL, interval))
        targets = folder / "configuration" / "targets"
        targets.mkdir(exist_ok=True)
        alertmanager = f"127.0.0.1:{place.ports['alertmanager']}"
        watched = {"service": service, "scheduler": scheduler, "alertmanager": alertmanager}
        for name, address in watched.items():
            (targets / f"{name}.json").write_text(json.dumps([{"targets": [address]}]))

    options = [
        f"--config.file={folder}/configuration/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        "--storage.tsdb.retention.time=30d",
        f"--web.listen-address=127.0.0.1:{place.ports['prometheus']}",
    ]
    return Server(
        name="prometheus",
        folder=place.folder,
        command=[find("prometheus", "prometheus"), *options],
        address=place.url("prometheus"),
        configure=configure,
        answers=lambda: _is_ready(place, "prometheus"),
    )


def alertmanager(place: Place, home: Path, scheduler: str = SCHEDULER) -> Server:
    """Alertmanager; alone, so it looks for no peers. It and the scheduler of `home` share a token."""
    folder = place.folder / "alertmanager"

    def configure() -> None:
        configuration = (CONFIGURATION / "alertmanager.yml").read_text()
        (folder / "alertmanager.yml").write_text(configuration.replace(RUNG, scheduler))
        token = folder / "webhook_token"
        token.unlink(missing_ok=True)
        token.symlink_to(_webhook_token(home / "scheduler"))

    options = [
        f"--config.file={folder}/alertmanager.yml",
        f"--storage.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{place.ports['alertmanager']}",
        "--cluster.listen-address=",
    ]
    return Server(
        name="alertmanager",
        folder=place.folder,
        command=[find("prometheus-alertmanager", "prometheus-alertmanager"), *options],
        address=place.url("alertmanager"),
        configure=configure,
        answers=lambda: _is_ready(place, "alertmanager"),
    )


def _webhook_token(folder: Path) -> Path:
    """The file in the scheduler's folder, made by whoever starts first."""
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / "token"
    with (
        suppress(FileExistsError),
        open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file,
    ):
        file.write(secrets.token_urlsafe(32))
    return path


def _is_ready(place: Place, name: str) -> bool:
    import requests

    return requests.get(f"{place.url(name)}/-/ready", timeout=5).ok
