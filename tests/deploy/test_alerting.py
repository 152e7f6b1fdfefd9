"""From a gauge to the webhook, through a real Prometheus and a real Alertmanager, which come and go."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from millrace.monitoring import gauges
from tests.bentos.running import free_port, wait_for
from tests.deploy.watching import alertmanager, prometheus, told
from tests.millrace.verdicts import make_verdict

TOKEN = "a token of sixteen letters or more"


class Bell:
    """What has rung at a webhook: (token, body)."""

    def __init__(self) -> None:
        self.port = free_port()
        self.rung: list[tuple[str | None, dict[str, Any]]] = []

    @property
    def causes(self) -> set[str]:
        """The fingerprint and start of each alert."""
        return {
            f"{alert['fingerprint']}@{alert['startsAt']}" for _, body in self.rung for alert in body["alerts"]
        }

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take what comes meanwhile."""
        rung = self.rung

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/alerts"
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                rung.append((self.headers["Authorization"], body))
                self.send_response(202)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        with http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield
            server.shutdown()


def firing(client: httpx.Client) -> dict[str, dict[str, str]]:
    """The labels of what fires, by alert."""
    alerts = client.get("/api/v1/alerts").json()["data"]["alerts"]
    return {alert["labels"]["alertname"]: alert["labels"] for alert in alerts if alert["state"] == "firing"}


@pytest.fixture
def bell() -> Bell:
    return Bell()


def found(client: httpx.Client, query: str) -> bool:
    """Whether a query finds something now."""
    return bool(client.get("/api/v1/query", params={"query": query}).json()["data"]["result"])


def test_drift_rings_once_whoever_was_down_when_it_began(bell: Bell, tmp_path: Path) -> None:
    """Alertmanager comes after the alert, the webhook after that; then the service is gone for a while."""
    before, after = (gauges.exposition(make_verdict(shift=shift)) for shift in (0, 3))
    shown = before
    port = free_port()
    with told(lambda: shown) as service, prometheus(tmp_path, service=service, alertmanager=port) as watching:
        wait_for(lambda: found(watching, "millrace_drift_status"))
        assert "Drift" not in firing(watching)
        shown = after
        wait_for(lambda: "Drift" in firing(watching))
        with alertmanager(tmp_path, port, bell.port, TOKEN) as alerting:
            wait_for(lambda: bool(alerting.get("/api/v2/alerts").json()))
            with bell.listening():
                wait_for(lambda: bool(bell.rung))
                (token, body), *_ = bell.rung
                assert token == f"Bearer {TOKEN}"
                (alert,) = body["alerts"]
                assert alert["labels"].items() >= {"problem": "homes", "retrain": "drift"}.items()
                said = "homes: inputs or predictions of version 3 have drifted."
                assert alert["annotations"]["summary"] == said
                # What is not shown for a while does not end, and so does not come as another cause.
                shown = b""
                wait_for(lambda: not found(watching, "millrace_drift_status"))
                assert "Drift" in firing(watching)
                shown = after
                wait_for(lambda: found(watching, "millrace_drift_status"))
                assert len(bell.causes) == 1
                assert {body["status"] for _, body in bell.rung} == {"firing"}
