"""Prometheus and Alertmanager as we configure them, for the length of a test, and something to read."""

import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.bentos.running import free_port, wait_for

CONFIGURATION = Path(__file__).parent.parent.parent / "deploy" / "prometheus"


@contextmanager
def told(tell: Callable[[], bytes]) -> Iterator[int]:
    """An exposition on a port of this machine."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(tell())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@contextmanager
def prometheus(folder: Path, **targets: int) -> Iterator[httpx.Client]:
    """A Prometheus with our configuration and rules, that looks every second at ports of this machine."""
    shutil.copytree(CONFIGURATION, folder / "configuration")
    configuration = folder / "configuration" / "prometheus.yml"
    configuration.write_text(configuration.read_text().replace("_interval: 15s", "_interval: 1s"))
    (folder / "configuration" / "targets").mkdir()
    for name, port in targets.items():
        place = folder / "configuration" / "targets" / f"{name}.json"
        place.write_text(json.dumps([{"targets": [f"127.0.0.1:{port}"]}]))
    port = free_port()
    command = [
        *("prometheus", f"--config.file={configuration}", f"--storage.tsdb.path={folder}/data"),
        f"--web.listen-address=127.0.0.1:{port}",
        # How soon Alertmanager, when it was away, is told again: else a minute.
        "--rules.alert.resend-delay=1s",
    ]
    with _running(command, port, folder / "prometheus.log") as client:
        yield client


@contextmanager
def alertmanager(folder: Path, port: int, webhook: int, token: str) -> Iterator[httpx.Client]:
    """An Alertmanager with our configuration, that rings another port than the scheduler's."""
    configuration = folder / "alertmanager.yml"
    ours = (CONFIGURATION / "alertmanager.yml").read_text()
    configuration.write_text(ours.replace("127.0.0.1:3002", f"127.0.0.1:{webhook}"))
    (folder / "webhook_token").write_text(token)
    command = [
        *("prometheus-alertmanager", f"--config.file={configuration}", f"--storage.path={folder}/kept"),
        *(f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="),
    ]
    with _running(command, port, folder / "alertmanager.log") as client:
        yield client


@contextmanager
def _running(command: list[str], port: int, log: Path) -> Iterator[httpx.Client]:
    """A server as long as it is needed, and its client."""
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            wait_for(lambda: _is_ready(client))
            yield client
    finally:
        process.terminate()
        process.wait(30)


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == 200
    except httpx.TransportError:
        return False
