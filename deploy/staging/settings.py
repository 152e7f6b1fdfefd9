"""What the first start decides and later ones keep: ports and secrets, in files only their owner can read."""

import json
import os
import secrets
import socket
import threading
from pathlib import Path

# Beside the usual ports, where a machine's own servers may be; a taken one is replaced by a free one.
PORTS = {
    "ceph-mon": 3301,
    "s3": 9000,
    "postgresql": 5433,
    "mariadb": 3307,
    "mlflow": 5001,
    "zenml": 8238,
    "alertmanager": 9094,
    "prometheus": 9095,
}
DRAWN = (
    "ceph",
    "postgresql",
    "mlflow",
    "mlflow_database",
    "mlflow_session",
    "mariadb",
    "zenml",
    "zenml_tokens",
    "zenml_encryption",
)
BUCKET = "millrace"
USER = "millrace"


class Settings:
    """The ports and secrets of one staging, by name; safe to use from several threads."""

    def __init__(self, folder: Path, free_ports: bool = False) -> None:
        """Read them from `folder`, or draw them; with `free_ports` all ports are any that are free."""
        self.folder = folder
        self._lock = threading.Lock()
        self._path = folder / "settings.json"
        if self._path.is_file():
            kept = json.loads(self._path.read_text())
            self.ports: dict[str, int] = kept["ports"]
            self.secrets: dict[str, str] = kept["secrets"]
        else:
            self.ports = draw_ports(dict.fromkeys(PORTS, 0) if free_ports else PORTS)
            self.secrets = {name: secrets.token_urlsafe(24) for name in DRAWN}
            self._write()

    def keep(self, **found: str) -> None:
        """Keep secrets that a server made itself."""
        with self._lock:
            self.secrets.update(found)
            self._write()

    def url(self, name: str) -> str:
        """The address of a server that speaks HTTP."""
        return f"http://127.0.0.1:{self.ports[name]}"

    def environment(self) -> dict[str, str]:
        """The variables that configs/stacks/staging.yaml refers to."""
        return {
            "MILLRACE_STAGING_S3_ENDPOINT": self.url("s3"),
            "MILLRACE_STAGING_S3_BUCKET": BUCKET,
            "MILLRACE_STAGING_S3_KEY": self.secrets["s3_key"],
            "MILLRACE_STAGING_S3_SECRET": self.secrets["s3_secret"],
            "MILLRACE_STAGING_MLFLOW_URL": self.url("mlflow"),
            "MILLRACE_STAGING_MLFLOW_USER": USER,
            "MILLRACE_STAGING_MLFLOW_PASSWORD": self.secrets["mlflow"],
            "MILLRACE_STAGING_ZENML_URL": self.url("zenml"),
            "MILLRACE_STAGING_ZENML_API_KEY": self.secrets["zenml_api_key"],
        }

    def for_other_programs(self) -> dict[str, str]:
        """The variables that S3's and MLflow's own clients look for."""
        return {
            "AWS_ENDPOINT_URL": self.url("s3"),
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": self.secrets["s3_key"],
            "AWS_SECRET_ACCESS_KEY": self.secrets["s3_secret"],
            "MLFLOW_TRACKING_URI": self.url("mlflow"),
            "MLFLOW_TRACKING_USERNAME": USER,
            "MLFLOW_TRACKING_PASSWORD": self.secrets["mlflow"],
        }

    def write_environment(self) -> None:
        """Write `environment`, from which run.py takes the variables that are not set."""
        lines = [f"{name}={value}\n" for name, value in self.environment().items()]
        write_private(self.folder / "environment", "".join(lines))

    def _write(self) -> None:
        write_private(self._path, json.dumps({"ports": self.ports, "secrets": self.secrets}, indent=1))


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def draw_ports(wanted: dict[str, int]) -> dict[str, int]:
    """A free port for each server, the wanted one if it is free; 0 wants any."""
    with_sockets = {name: _bind(port) for name, port in wanted.items()}
    ports = {name: int(bound.getsockname()[1]) for name, bound in with_sockets.items()}
    for bound in with_sockets.values():
        bound.close()
    return ports


def _bind(port: int) -> socket.socket:
    bound = socket.socket()
    # Ports of connections that are only waiting to be forgotten are free.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", port))
    except OSError:
        bound.bind(("127.0.0.1", 0))
    return bound
