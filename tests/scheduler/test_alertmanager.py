"""A real Alertmanager with the configuration that is shipped rings a real scheduler."""

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT
from tests.scheduler.running import PATIENCE, Running, until


@pytest.fixture
def alertmanager(scheduler: Running, tmp_path: Path) -> Iterator[str]:
    """Where an Alertmanager is that rings this test's scheduler, which has been started and stopped."""
    scheduler.start()
    scheduler.stop()
    address = scheduler.url.removeprefix("http://")
    text = (ROOT / "deploy" / "prometheus" / "alertmanager.yml").read_text()
    assert "http://127.0.0.1:3002/v1/alerts" in text
    (tmp_path / "alertmanager.yml").write_text(text.replace("127.0.0.1:3002", address))
    shutil.copy(scheduler.folder / "token", tmp_path / "webhook_token")
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    options = [
        f"--config.file={tmp_path}/alertmanager.yml",
        f"--storage.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(["prometheus-alertmanager", *options], stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: _is_ready(url))
        yield url
    finally:
        process.kill()
        process.wait(PATIENCE)


def _is_ready(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/-/ready").status_code == 200
    return False


def raise_alert(url: str, starts: datetime, **labels: str) -> None:
    """Tell Alertmanager of an alert, as Prometheus does with every evaluation of a rule."""
    alert = {
        "labels": {"alertname": "Drift", "problem": "iris", **labels},
        "annotations": {"summary": "iris: inputs have drifted"},
        "startsAt": starts.isoformat(),
    }
    httpx.post(f"{url}/api/v2/alerts", json=[alert], timeout=PATIENCE).raise_for_status()


def test_an_alert_is_one_retraining_also_if_the_scheduler_was_down(
    scheduler: Running, alertmanager: str
) -> None:
    starts = datetime.now(UTC)
    raise_alert(alertmanager, starts, retrain="drift")
    # Not every alert asks for one.
    raise_alert(alertmanager, starts, alertname="HighLatency")
    failed = r'notifications_failed_total\{integration="webhook"[^}]*\} [1-9]'
    until(lambda: re.search(failed, httpx.get(f"{alertmanager}/metrics").text))
    scheduler.start(port=int(scheduler.url.rpartition(":")[2]))
    [job] = scheduler.ended()
    assert (job.name, job.outcome) == ("alert", "done")
    arguments = scheduler.calls[0]["arguments"]
    assert "--trigger=drift" in arguments
    assert "--reason=iris: inputs have drifted" in arguments
    [cause] = [word for word in arguments if word.startswith("--cause=")]
    assert re.fullmatch(rf"--cause=[0-9a-f]{{16}}@{starts:%Y-%m-%dT%H:%M:%S}\S+Z", cause)
    # A group that changes is sent whole, with the alert that is known.
    raise_alert(alertmanager, starts, retrain="drift", version="7")
    assert len(scheduler.ended(2)) == 2
    counted = scheduler.counted("millrace_alerts_received_total")
    assert (counted['{outcome="queued"}'], counted['{outcome="refused"}']) == (2, 0)
    assert counted['{outcome="repeated"}'] >= 1
    assert len(scheduler.calls) == 2
