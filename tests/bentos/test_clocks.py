"""A clock that is set, and a million paths that nobody knows: what a worker counts stays sane, and small."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# By hand, a million.
UNKNOWN = 50_000
# A worker in a process of its own, with its metrics and its log, whose clock is set while it answers.
WORKER = """
import asyncio, json, sys, time
from pathlib import Path
import psutil
from bentos.access import Denied, Gate
from bentos.app import Application
from bentos.records import Records
from bentos.routes import PATHS
from millrace.bundle import load_bundle
from millrace.prediction_log import LogSettings, PredictionLog, read_log
from millrace.service_metrics import ServiceMetrics
from tests.bentos.running import HOUSE
from tests.bentos.serving import Client, application
from tests.bentos.test_access import key

bundle = load_bundle(Path(sys.argv[1]))
uri = f"sqlite:///{sys.argv[2]}/log.db"
watcher = ServiceMetrics(PATHS)
log = PredictionLog(LogSettings(uri=uri, flush_seconds=0.05), bundle.problem, watcher)
app = application(bundle)
app.keep(Records(watcher, log))
client = Client(app)
real = time.time

def set_clock(by):
    time.time = lambda: real() + by

def metric(name):
    lines = [line for line in watcher.render().decode().splitlines() if line.startswith(name)]
    return sum(float(line.split()[-1]) for line in lines)
"""
CLOCK = """
DAY = 86400
gate = Gate({"site": key("k", "predict", per_minute=3)})
let_in = 0
for by in (0, 400 * DAY, -400 * DAY, 3600, 0):
    set_clock(by)
    for _ in range(20):
        assert client.post("/v1/predict", json={"rows": [HOUSE]}).status_code == 200
        try:
            gate.admit("k", "predict")
            let_in += 1
        except Denied as denied:
            assert 1 <= float(denied.headers["Retry-After"]) <= 20, denied.headers
    while log.status.waiting:
        time.sleep(0.01)
status = log.close()
set_clock(0)
import pandas as pd
table = pd.concat(list(read_log(uri, bundle.problem)))
print(json.dumps({
    "let in": let_in, "written": status.written, "lost": sum(status.lost.values()), "rows": len(table),
    "shortest": table["_seconds"].min(), "longest": table["_seconds"].max(),
    "times": table["_time"].dt.floor("D").nunique(),
    "count": metric('millrace_request_seconds_count{route="/v1/predict",status="200"}'),
    "sum": metric('millrace_request_seconds_sum{route="/v1/predict",status="200"}'),
}))
"""
PATHS = """
process, count = psutil.Process(), int(sys.argv[3])

async def ask(numbers):
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        if message["type"] == "http.response.start":
            statuses.add(message["status"])

    for number in numbers:
        # Unknown paths, and for a third known ones with unknown methods.
        method = f"M{number}" if number % 3 == 0 else ("GET", "POST", "DELETE")[number % 3]
        path = f"/v1/{number:x}" if number % 3 else ("/v1/predict", "/v1/model")[number % 2]
        scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}
        await app(scope, receive, send)

def state():
    return len(watcher.render().splitlines()), process.memory_info().rss / 2**20

statuses = set()
asyncio.run(ask(range(count // 10)))
lines, memory = state()
asyncio.run(ask(range(count // 10, count)))
more, after = state()
print(json.dumps({"statuses": sorted(statuses), "series": more - lines, "MB": after - memory}))
"""


def worker(code: str, bundle: Path, folder: Path, *arguments: str) -> dict[str, Any]:
    """What it prints as JSON at its end."""
    metrics = folder / "metrics"
    metrics.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", WORKER + code, str(bundle), str(folder), *arguments],
        cwd=ROOT,
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(metrics)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_clock_that_is_set_changes_no_duration_and_no_limit(houses_folder: Path, tmp_path: Path) -> None:
    found = worker(CLOCK, houses_folder, tmp_path)
    assert (found["written"], found["rows"], found["lost"], found["count"]) == (100, 100, 0, 100)
    assert 0 < found["shortest"] <= found["longest"] < 30
    assert 0 < found["sum"] < 60
    # What the clock said is what the log says.
    assert found["times"] >= 3
    # A minute's worth, and what has come to it in the seconds that this took.
    assert 3 <= found["let in"] <= 5


def test_unknown_paths_and_methods_grow_nothing(houses_folder: Path, tmp_path: Path) -> None:
    found = worker(PATHS, houses_folder, tmp_path, str(UNKNOWN))
    assert found["statuses"] == [404, 405]
    assert found["series"] == 0
    assert found["MB"] < 5
