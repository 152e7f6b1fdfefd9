"""What the prediction log and the metrics cost a service, and what a killed process loses.

    .venv/bin/python benchmarks/prediction_log.py

Microseconds on the way of a request are medians of seven rounds. The writer's share is the CPU time of its
thread while a process logs 12,000 rows of California Housing a second, one a request, with metrics and drift
counted. Then a process that logs as fast is killed with SIGKILL at ten moments.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import timeit
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
RATE = 12_000
SECONDS = 10
ROUNDS, CALLS = 7, 20_000
KILLS = 10
BODY = b"""{"rows": [{"MedInc": 8.3252, "HouseAge": 41, "AveRooms": 6.984127, "AveBedrms": 1.02381,
    "Population": 322, "AveOccup": 2.555556, "Latitude": 37.88, "Longitude": -122.23}]}"""
ANSWERS = b'[{"prediction":4.526}]'


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        print("microseconds a request")
        _costs(folder)
    print(f"\n{RATE:,} one-row requests a second, for {SECONDS} s")
    for name in ("SQLite", "Parquet"):
        with tempfile.TemporaryDirectory() as folder:
            _share(name, _uri(name, folder), metrics=False)
        with tempfile.TemporaryDirectory() as folder:
            _share(name, _uri(name, folder), metrics=True)
    print(f"\nkill -9 at {RATE:,} rows a second, {KILLS} times")
    for name in ("SQLite", "Parquet"):
        _kills(name)


def _uri(name: str, folder: str) -> str:
    return f"sqlite:///{folder}/log.db" if name == "SQLite" else f"{folder}/log"


def _problem() -> Any:
    from millrace.contract import load_problem

    return load_problem("california_housing", ROOT / "configs" / "problems")


def _reader() -> Any:
    from millrace.requests import RequestReader

    return RequestReader(_problem())


def _entry(question: Any, number: int, model: Any) -> Any:
    from millrace.prediction_log import Entry

    return Entry(time.time(), f"{number:032x}", "champion", model, 0.001, question, ANSWERS)


def _model() -> Any:
    from millrace.prediction_log import ModelName

    return ModelName("california_housing", "7", "d" * 64)


def _metrics() -> Any:
    import numpy as np

    from millrace.input_summary import Numbers, Reference
    from millrace.service_metrics import ServiceMetrics

    metrics = ServiceMetrics(["/v1/predict", "/v1/explain", "/v1/feedback"])
    bins = {name: Numbers(np.arange(9.0)) for name in _problem().inputs}
    shares = {name: dict.fromkeys(bins[name].bins, 0.1) for name in bins}
    reference = Reference(tuple(bins), bins, Numbers(np.arange(9.0)), shares)
    metrics.serve("champion", _model(), reference, datetime.now(UTC))
    return metrics


def _costs(folder: str) -> None:
    from millrace.prediction_log import LogSettings, PredictionLog

    metrics, question, model = _metrics(), _reader().read(BODY), _model()
    # Nothing is written meanwhile: this is what the request pays, and nothing else.
    settings = LogSettings(
        uri=f"sqlite:///{folder}/log/log.db", flush_seconds=60, flush_rows=10**6, queue_rows=10**7
    )
    log = PredictionLog(settings, _problem())
    full = PredictionLog(settings.model_copy(update={"queue_rows": 1}), _problem())
    entry = _entry(question, 1, model)
    _print("an entry made and offered", lambda: log.offer(_entry(question, 1, model)))
    _print("offer", lambda: log.offer(entry))
    _print("offer, the queue is full", lambda: full.offer(entry))

    def count() -> None:
        metrics.answered("/v1/predict", 200, 0.003)
        metrics.predicted("champion", 1)

    _print("metrics: request, histogram, rows", count)
    _print("rendering all metrics", metrics.render, calls=20)
    log._queue.abandon()
    for one in (log, full):
        one.close()


def _print(what: str, work: Callable[[], object], calls: int = CALLS) -> None:
    rounds = [timeit.timeit(work, number=calls) / calls for _ in range(ROUNDS)]
    print(f"  {what:36} {1e6 * statistics.median(rounds):10.2f}")


def _share(name: str, uri: str, metrics: bool) -> None:
    """The writer's CPU time; it is told apart from the main thread's by the kernel."""
    from millrace.prediction_log import LogSettings, PredictionLog

    with tempfile.TemporaryDirectory() as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        log = PredictionLog(LogSettings(uri=uri), _problem(), _metrics() if metrics else None)
        reader, model = _reader(), _model()
        (writer,) = (thread for thread in threading.enumerate() if thread.name == "prediction-log")
        clock = time.pthread_getcpuclockid(writer.ident or 0)
        before, started, number = time.clock_gettime(clock), time.perf_counter(), 0
        while (passed := time.perf_counter() - started) < SECONDS:
            while number < passed * RATE:
                log.offer(_entry(reader.read(BODY), number, model))
                number += 1
            time.sleep(0.001)
        used = time.clock_gettime(clock) - before
        status = log.close(60)
    assert status.written == number, status
    what = f"{name}, writer{', metrics and drift' if metrics else ''}"
    print(f"  {what:36} {100 * used / SECONDS:9.1f}% of a core, {1e6 * used / number:5.2f} us a row")


STREAM = """
import sys, time
from benchmarks.prediction_log import BODY, RATE, _entry, _model, _problem, _reader
from millrace.prediction_log import LogSettings, PredictionLog
log = PredictionLog(LogSettings(uri=sys.argv[1]), _problem())
question, model = _reader().read(BODY), _model()
started, number = time.perf_counter(), 0
while True:
    while number < (time.perf_counter() - started) * RATE:
        log.offer(_entry(question, number, model))
        number += 1
    print(number, flush=True)
    time.sleep(0.001)
"""


def _kills(name: str) -> None:
    from millrace.prediction_log import LogSettings, PredictionLog, read_log

    lost = []
    for moment in range(KILLS):
        with tempfile.TemporaryDirectory() as folder:
            uri = _uri(name, folder)
            process = subprocess.Popen(
                [sys.executable, "-c", STREAM, uri], cwd=ROOT, stdout=subprocess.PIPE, text=True
            )
            assert process.stdout is not None
            offered = 0
            while offered < RATE * (1 + moment / KILLS):
                offered = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            offered = max(offered, *(int(line) for line in process.communicate()[0].splitlines()[:-1]), 0)
            # The next process of a service finishes what the one before has left.
            PredictionLog(LogSettings(uri=uri, flush_seconds=0.01), _problem()).close(60)
            lost.append(offered - sum(len(table) for table in read_log(uri, _problem())))
    seconds = LogSettings(uri="log").flush_seconds
    print(
        f"  {name:36} rows lost: median {statistics.median(lost):,.0f}, at most {max(lost):,}; "
        f"{RATE * seconds:,.0f} come in a flush interval of {seconds} s"
    )


if __name__ == "__main__":
    main()
