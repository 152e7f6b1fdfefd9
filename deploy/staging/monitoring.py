"""Prometheus and Alertmanager, with the configuration in deploy/prometheus/."""

import json
import os
import shutil
from pathlib import Path

from deploy.staging.programs import find
from deploy.staging.server import Server
from deploy.staging.settings import Settings

CONFIGURATION = Path(__file__).parent.parent / "prometheus"
# Where `make serve` answers.
SERVICE = f"127.0.0.1:{os.environ.get('PORT', '3000')}"


def prometheus(settings: Settings) -> Server:
    """Prometheus; what it watches is in files beside its configuration."""
    folder = settings.folder / "prometheus"

    def configure() -> None:
        shutil.copytree(CONFIGURATION, folder / "configuration", dirs_exist_ok=True)
        targets = folder / "configuration" / "targets"
        targets.mkdir(exist_ok=True)
        alertmanager = f"127.0.0.1:{settings.ports['alertmanager']}"
        for name, address in {"service": SERVICE, "alertmanager": alertmanager}.items():
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
    """Alertmanager; alone, so it looks for no peers."""
    options = [
        f"--config.file={CONFIGURATION}/alertmanager.yml",
        f"--storage.path={settings.folder}/alertmanager",
        f"--web.listen-address=127.0.0.1:{settings.ports['alertmanager']}",
        "--cluster.listen-address=",
    ]
    return Server(
        name="alertmanager",
        folder=settings.folder,
        command=[find("prometheus-alertmanager", "prometheus-alertmanager"), *options],
        address=settings.url("alertmanager"),
        answers=lambda: _is_ready(settings, "alertmanager"),
    )


def _is_ready(settings: Settings, name: str) -> bool:
    import requests

    return requests.get(f"{settings.url(name)}/-/ready", timeout=5).ok
