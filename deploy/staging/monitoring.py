"""Prometheus and Alertmanager, with the configuration in deploy/prometheus/."""

import json
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from deploy.staging.programs import find
from deploy.staging.server import Server
from deploy.staging.settings import Settings

CONFIGURATION = Path(__file__).parent.parent / "prometheus"
# Where `make serve` answers, and `make scheduler`.
SERVICE = f"127.0.0.1:{os.environ.get('PORT', '3000')}"
SCHEDULER = "127.0.0.1:3002"


def prometheus(settings: Settings) -> Server:
    """Prometheus; what it watches is in files beside its configuration."""
    folder = settings.folder / "prometheus"

    def configure() -> None:
        shutil.copytree(CONFIGURATION, folder / "configuration", dirs_exist_ok=True)
        targets = folder / "configuration" / "targets"
        targets.mkdir(exist_ok=True)
        alertmanager = f"127.0.0.1:{settings.ports['alertmanager']}"
        watched = {"service": SERVICE, "scheduler": SCHEDULER, "alertmanager": alertmanager}
        for name, address in watched.items():
            (targets / f"{name}.json").write_text(json.dumps([{"targets": [address]}]))

    options = [
        f"--config.file={folder}/configuration/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        "--storage.tsdb.retention.time=30d",
        f"--web.listen-address=127.0.0.1:{settings.ports['prometheus']}",
    ]
    return Server(
        name="prometheus",
        folder=settings.folder,
        command=[find("prometheus", "prometheus"), *options],
        address=settings.url("prometheus"),
        configure=configure,
        answers=lambda: _is_ready(settings, "prometheus"),
    )


def alertmanager(settings: Settings) -> Server:
    """Alertmanager; alone, so it looks for no peers. It and the scheduler share the webhook's token."""
    folder = settings.folder / "alertmanager"

    def configure() -> None:
        shutil.copy(CONFIGURATION / "alertmanager.yml", folder)
        token = folder / "webhook_token"
        token.unlink(missing_ok=True)
        token.symlink_to(_webhook_token(settings.folder.parent / "scheduler"))

    options = [
        f"--config.file={folder}/alertmanager.yml",
        f"--storage.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{settings.ports['alertmanager']}",
        "--cluster.listen-address=",
    ]
    return Server(
        name="alertmanager",
        folder=settings.folder,
        command=[find("prometheus-alertmanager", "prometheus-alertmanager"), *options],
        address=settings.url("alertmanager"),
        configure=configure,
        answers=lambda: _is_ready(settings, "alertmanager"),
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


def _is_ready(settings: Settings, name: str) -> bool:
    import requests

    return requests.get(f"{settings.url(name)}/-/ready", timeout=5).ok
