"""How fast predictions are served: Millrace with everything on, beside other ways to serve the same bundle.

    python benchmarks/serving.py [SECONDS]

Every contender has one worker. All are up, and are asked in turns, four times each; wrk (Debian's package)
asks over loopback, on 1 and on 32 connections with one row, on 4 with 100 and 10,000 rows. Millrace checks,
counts, logs to SQLite and splits its traffic between two variants. First with LightGBM of 300 trees on the
eight columns, then with the default champion of the problem california_housing, transforms and all. Prints
requests a second, latencies, memory and start-up, and the ratios that matter: medians of the turns, for the
speed of such machines changes from one minute to the next. The last line of each model is Millrace with two
workers, on the same two processors that wrk needs a part of.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
DATA = ROOT.parent / "shared" / "data" / "california_housing.csv"
BIN = Path(sys.executable).parent
ROW = {
    "MedInc": 8.3, "HouseAge": 41, "AveRooms": 7, "AveBedrms": 1, "Population": 322, "AveOccup": 2.6,
    "Latitude": 37.9, "Longitude": -122.2,
}  # fmt: skip
# Rows and connections of each measurement.
LOADS = ((1, 1), (1, 32), (100, 4), (10_000, 4))
TURNS = 4
TWO = "Millrace, two workers"
READY_WITHIN = 120.0


@dataclass(frozen=True)
class Contender:
    """How to start one, on which path it answers, and the body that it takes for so many rows."""

    command: list[str]
    path: str
    body: Callable[[int], Any]
    environment: dict[str, str]


@dataclass(frozen=True)
class Measured:
    """Requests a second and milliseconds of one load; `failed` counts answers that are no 200."""

    rate: float
    p50: float
    p99: float
    failed: int


def rows_body(rows: int) -> Any:
    return {"rows": [ROW] * rows}


def contenders(bundle: Path, model: str, bento: str, port: int, workers: int = 1) -> dict[str, Contender]:
    """All of them for one bundle, `model` being its BentoML tag and `bento` its Bento's."""
    served = {"BUNDLE": str(bundle), "PYTHONPATH": str(ROOT)}
    at = ["--host", "127.0.0.1", "--port", str(port)]

    def uvicorn(app: str) -> list[str]:
        return [
            str(BIN / "uvicorn"),
            f"benchmarks.peers.{app}:app",
            *at,
            "--no-access-log",
            "--log-level",
            "error",
        ]

    ours = {
        "MILLRACE_SERVE_WORKERS": str(workers),
        "MILLRACE_SERVE_CHALLENGER": model,
        "MILLRACE_SERVE_CHALLENGER_SHARE": "0.5",
    }
    bentoml = [str(BIN / "bentoml"), "serve"]
    mlflow = [
        str(BIN / "mlflow"),
        "models",
        "serve",
        "-m",
        str(bundle.parent / "mlflow"),
        "--env-manager",
        "local",
    ]
    return {
        "Millrace": Contender([*bentoml, bento, *at], "/v1/predict", rows_body, ours),
        "plain Starlette": Contender(uvicorn("starlette_app"), "/predict", rows_body, served),
        "FastAPI + pydantic": Contender(uvicorn("fastapi_app"), "/predict", rows_body, served),
        "BentoML as in its tutorial": Contender(
            [*bentoml, "benchmarks.peers.tutorial_service:Tutorial", *at], "/predict", rows_body, served
        ),
        "mlflow models serve": Contender(
            [*mlflow, *at, "--workers", "1"],
            "/invocations",
            lambda rows: {"dataframe_records": [ROW] * rows},
            {"PATH": f"{BIN}:{os.environ['PATH']}"},
        ),
        "bare ASGI": Contender(uvicorn("bare_app"), "/predict", rows_body, {}),
    }


@contextmanager
def running(
    contender: Contender, port: int, folder: Path
) -> Iterator[tuple["subprocess.Popen[bytes]", float]]:
    """Start one and wait for its first answer; the seconds that took are given, too."""
    told = folder / f"server-{port}.log"
    with told.open("wb") as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            contender.command,
            cwd=ROOT,
            env={**os.environ, **contender.environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        while not answers(contender, port):
            if process.poll() is not None or time.perf_counter() - started > READY_WITHIN:
                sys.exit(f"{contender.command} did not start:\n{told.read_text()[-2000:]}")
            time.sleep(0.05)
        yield process, time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(60)


def answers(contender: Contender, port: int) -> bool:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{contender.path}",
        json.dumps(contender.body(1)).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def wrk(url: str, body: Any, connections: int, seconds: float, folder: Path) -> Measured:
    """One load by wrk, after a second to warm up."""
    script = folder / "post.lua"
    (folder / "body.json").write_text(json.dumps(body))
    script.write_text(
        f'local file = io.open("{folder / "body.json"}")\n'
        'wrk.method = "POST"\nwrk.body = file:read("*a")\nwrk.headers["Content-Type"] = "application/json"\n'
        "done = function(summary, latency)\n"
        '  print("FAILED", summary.errors.status + summary.errors.read + summary.errors.timeout)\nend\n'
    )
    base = ["wrk", "-t", "1", "-c", str(connections), "-s", str(script), "--timeout", "30s", "--latency", url]
    subprocess.run([*base, "-d", "1s"], check=True, capture_output=True)
    text = subprocess.run([*base, "-d", f"{seconds:g}s"], check=True, capture_output=True, text=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    failed = re.search(r"FAILED\s+(\d+)", text)
    assert rate is not None
    assert failed is not None
    return Measured(float(rate[1]), _percentile(text, 50), _percentile(text, 99), int(failed[1]))


def _percentile(text: str, percent: int) -> float:
    found = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s)", text, re.M)
    assert found is not None
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]]


def memory(process: "subprocess.Popen[bytes]") -> float:
    """Megabytes of a process and all below it, each shared page counted once."""
    import psutil

    root = psutil.Process(process.pid)
    return sum(one.memory_full_info().pss for one in (root, *root.children(recursive=True))) / 2**20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def measure(title: str, bundle: Path, folder: Path, seconds: float) -> None:
    """All contenders on one bundle, and the table of it."""
    from bentos.build import build_bento, store_model
    from millrace.bundle import verify

    tag = store_model(bundle, "benchmark", verify(bundle), "1")
    bento = build_bento(tag)
    _log_to_mlflow(bundle)
    results: dict[str, list[list[Measured]]] = {}
    processes: dict[str, subprocess.Popen[bytes]] = {}
    seconds_to_start: dict[str, float] = {}
    with ExitStack() as stack:
        urls: dict[str, tuple[str, Contender]] = {}
        for name in (*contenders(bundle, tag, bento, 0), TWO):
            port = free_port()
            workers, kind = (2, "Millrace") if name == TWO else (1, name)
            contender = contenders(bundle, tag, bento, port, workers=workers)[kind]
            processes[name], seconds_to_start[name] = stack.enter_context(running(contender, port, folder))
            urls[name] = f"http://127.0.0.1:{port}{contender.path}", contender
        for turn in range(TURNS):
            for name, (url, contender) in urls.items():
                found = [wrk(url, contender.body(rows), many, seconds, folder) for rows, many in LOADS]
                results.setdefault(name, []).append(found)
            print(f"turn {turn + 1} of {TURNS} done", file=sys.stderr, flush=True)
        started = {
            name: f"{memory(process):.0f} MB, ready in {seconds_to_start[name]:.1f} s"
            for name, process in processes.items()
        }
    report(title, results, started)


def report(title: str, results: dict[str, list[list[Measured]]], started: dict[str, str]) -> None:
    """Print the medians of all turns [turns, loads]."""
    loads = "".join(f"{f'{rows:,} x {connections}':>24}" for rows, connections in LOADS)
    print(f"\n{title}\n{'rows x connections':<28}{loads}\n{'':<28}{'req/s   p50   p99 ms':>24}")
    for name, turns in results.items():
        cells = "".join(
            f"{median(one.rate for one in load):>10.0f}{median(one.p50 for one in load):>7.2f}"
            f"{median(one.p99 for one in load):>7.1f}"
            for load in zip(*turns, strict=True)
        )
        failed = sum(one.failed for turn in turns for one in turn)
        print(f"{name:<28}{cells}  {started[name]}" + (f", {failed} FAILED" if failed else ""))
    print(f"{'':<28}ratios to Millrace's requests a second, Millrace being 1")
    for name, turns in results.items():
        pairs = zip(zip(*results["Millrace"], strict=True), zip(*turns, strict=True), strict=True)
        ratios = (
            median(own.rate / one.rate for own, one in zip(ours, theirs, strict=True))
            for ours, theirs in pairs
        )
        print(f"Millrace / {name:<17.17}" + "".join(f"{ratio:>24.2f}" for ratio in ratios), flush=True)


def _log_to_mlflow(bundle: Path) -> None:
    import mlflow

    from millrace.bundle import load_bundle
    from millrace.pyfunc import pack_code, signature

    shutil.rmtree(bundle.parent / "mlflow", ignore_errors=True)
    mlflow.pyfunc.save_model(
        bundle.parent / "mlflow",
        loader_module="millrace.pyfunc",
        data_path=str(bundle),
        code_paths=[str(pack_code(bundle.parent))],
        signature=signature(load_bundle(bundle).problem),
        pip_requirements=[],
    )


def train(folder: Path, *options: str) -> Path:
    """The bundle that the training command makes."""
    summary = folder / "summary.json"
    command = [sys.executable, str(ROOT / "run.py"), "--pipeline", "training", "--data", str(DATA)]
    subprocess.run([*command, "--summary", str(summary), *options], cwd=ROOT, check=True, capture_output=True)
    digest = json.loads(summary.read_text())["bundle_digest"]
    for manifest in (Path(os.environ["MILLRACE_HOME"]) / "store").rglob("manifest.json"):
        from millrace.bundle import verify

        if verify(manifest.parent) == digest:
            return manifest.parent
    raise LookupError(digest)


def main(seconds: float) -> int:
    if not DATA.is_file() or shutil.which("wrk") is None:
        print(f"skipped: needs the California table at {DATA}, and wrk (apt-get install wrk)")
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.environ["MILLRACE_HOME"] = str(folder / "state")
        from stacks import environment

        environment.prepare()
        print("Training two models first: about two minutes.", flush=True)
        only = [f"--set=candidates.{name}=null" for name in ("linear", "random_forest", "hist_boosting")]
        trees = ["--set=candidates.lightgbm.n_estimators=300", "--set=candidates.lightgbm.num_leaves=31"]
        plain = train(folder, "--problem", "housing_sample", *only, *trees)
        champion = train(folder, "--problem", "california_housing")
        measure("LightGBM of 300 trees on eight columns", plain, folder, seconds)
        measure("the default champion of california_housing", champion, folder, seconds)
    return 0


if __name__ == "__main__":
    # Told to end, it ends the servers, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 2))
