"""A service's metrics, counted by real processes that come, die and are replaced."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.millrace.logged import ROOT

# One process of a service: it does what it is told line by line, and answers each line.
WORKER = """
import sys, time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from millrace.input_summary import Names, Numbers, Reference
from millrace.prediction_log import LogStatus, ModelName
from millrace.service_metrics import ServiceMetrics
from tests.millrace.logged import HOME, make_entry
import numpy as np
metrics = ServiceMetrics(["/v1/predict", "/v1/model"])
reference = Reference(
    names=("size", "floor", "kind", "lift", "built"),
    inputs={"size": Numbers(np.array([0.0, 1.0])), "kind": Names(("flat", "house", "boat"))},
    prediction=Numbers(np.array([2.0])),
    shares={"size": {"1": 0.5, "2": 0.25, "3": 0.25, "missing": 0.0}, "kind": {"flat": 1.0}},
    prediction_shares={"1": 0.5, "2": 0.5},
)
MADE = datetime(2026, 3, 1, tzinfo=UTC)
def model(version):
    return ModelName("homes", version, "d" * 64)
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""


class Worker:
    """A process of a service, and the metrics it renders."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            cwd=ROOT,
            env=os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(folder)},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.folder = folder

    def do(self, code: str) -> None:
        """Let it run a line."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(code + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def text(self) -> str:
        """What it renders."""
        page = self.folder / "page.txt"
        self.do(f"Path({str(page)!r}).write_bytes(metrics.render())")
        return page.read_text()

    def samples(self) -> dict[tuple[Any, ...], float]:
        """What it renders, without what is zero, by name and labels' values."""
        return {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(self.text())
            for sample in family.samples
            if sample.value
        }

    def kill(self) -> None:
        """End it as the kernel would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def workers(tmp_path: Path) -> Any:
    """Start processes of one service; they are ended afterwards."""
    started: list[Worker] = []
    folder = tmp_path / "metrics"
    folder.mkdir()

    def start() -> Worker:
        started.append(Worker(folder))
        return started[-1]

    yield start
    for worker in started:
        worker.kill()
        worker.process.communicate()


def test_processes_are_added_up_and_their_counts_outlive_them(workers: Any) -> None:
    first, second = workers(), workers()
    for worker in (first, second):
        worker.do("for _ in range(3): metrics.answered('/v1/predict', 200, 0.003)")
        worker.do("metrics.answered('/v1/predict', 422, 0.0001); metrics.refused('range')")
        worker.do("metrics.predicted('champion', 5); metrics.serve('champion', model('7'), reference, MADE)")
        worker.do("metrics.report(LogStatus(waiting=11, written=100, lost={'full': 2}, fault='disk full'))")
    for worker in (first, second):
        found = worker.samples()
        assert found["millrace_request_seconds_count", "/v1/predict", "200"] == 6
        assert found["millrace_request_seconds_count", "/v1/predict", "422"] == 2
        assert found["millrace_request_seconds_bucket", "0.00025", "/v1/predict", "422"] == 2
        assert found["millrace_request_seconds_bucket", "0.005", "/v1/predict", "200"] == 6
        assert found["millrace_request_seconds_sum", "/v1/predict", "200"] == pytest.approx(0.018)
        assert found["millrace_rows_total", "champion"] == 10
        assert found["millrace_errors_total", "range"] == 2
        assert found["millrace_log_queue_rows",] == 22
        assert found["millrace_log_failing",] == 2
        assert found["millrace_log_rows_total",] == 200
        assert found["millrace_log_lost_total", "full"] == 4
        assert found["millrace_model_info", "d" * 64, "homes", "champion", "7"] == 2
    first.kill()
    third = workers()
    third.do("metrics.answered('/v1/predict', 200, 0.003); metrics.report(LogStatus(1, 10))")
    found = third.samples()
    assert found["millrace_request_seconds_count", "/v1/predict", "200"] == 7
    assert found["millrace_log_rows_total",] == 210
    # Of the one that is gone, nothing waits and nothing is served.
    assert found["millrace_log_queue_rows",] == 12
    assert found["millrace_log_failing",] == 1
    assert found["millrace_model_info", "d" * 64, "homes", "champion", "7"] == 1
    assert found == second.samples()


def test_labels_are_bounded(workers: Any) -> None:
    worker = workers()
    worker.do("metrics.answered('/v1/predict', 200, 1)")
    before = len(worker.text().splitlines())
    worker.do("for n in range(5000): metrics.answered(f'/v1/{n}', 404, 1)")
    worker.do("for n in range(1000, 3000): metrics.answered('/v1/model', n, 1)")
    worker.do("for n in range(500): metrics.refused(f'rule {n}'); metrics.predicted(f'variant {n}', 1)")
    worker.do("metrics.report(LogStatus(lost={'because': 3}))")
    assert len(worker.text().splitlines()) <= before + 40
    found = worker.samples()
    assert found["millrace_request_seconds_count", "other", "404"] == 5000
    assert found["millrace_request_seconds_count", "/v1/model", "other"] == 2000
    assert found["millrace_errors_total", "other"] == 500
    assert found["millrace_rows_total", "other"] == 500
    assert found["millrace_log_lost_total", "other"] == 3
    worker.do("assert len(metrics._answered) < 10")


def test_what_is_known_from_the_start_is_there_as_zero(workers: Any) -> None:
    worker = workers()
    worker.do("metrics.serve('champion', model('1'), reference, MADE)")
    text = worker.text()
    assert 'millrace_log_lost_total{reason="full"} 0.0' in text
    assert 'millrace_request_seconds_count{route="/v1/predict",status="200"} 0.0' in text
    assert 'millrace_feature_rows_total{bin="missing",feature="size",version="1"} 0.0' in text


def test_a_log_that_begins_anew_counts_on(workers: Any) -> None:
    worker = workers()
    for status in (
        "written=5, lost={'full': 4}",
        "written=7, lost={'full': 4}",
        "written=3, lost={'full': 1}",
    ):
        worker.do(f"metrics.report(LogStatus({status}))")
    found = worker.samples()
    assert found["millrace_log_rows_total",] == 10
    assert found["millrace_log_lost_total", "full"] == 5


def test_a_new_model_takes_the_place_of_the_old(workers: Any) -> None:
    worker = workers()
    for version in ("1", "2"):
        worker.do(f"metrics.serve('champion', model('{version}'), reference, MADE)")
    worker.do("metrics.serve('challenger', model('1'), reference, MADE)")
    served = [key[-1] + " " + key[-2] for key in worker.samples() if key[0] == "millrace_model_info"]
    assert sorted(served) == ["1 challenger", "2 champion"]
    trained = {key[1:]: value for key, value in worker.samples().items() if "_trained_" in key[0]}
    made = datetime(2026, 3, 1, tzinfo=UTC).timestamp()
    assert trained == {("homes", "challenger", "1"): made, ("homes", "champion", "2"): made}


def test_inputs_and_predictions_are_counted_in_the_references_bins(workers: Any) -> None:
    first, second = workers(), workers()
    for worker in (first, second):
        worker.do("metrics.serve('champion', model('3'), reference, MADE)")
        worker.do("rows = [HOME | {'size': size} for size in (-4, 0.5, 8, None)] + [HOME | {'kind': 'boat'}]")
        worker.do("answers = [{'prediction': value} for value in (1.0, 1.0, 3.0, 4.0, 5.0)]")
        worker.do("metrics.watch([make_entry('r', *rows, answers=answers)])")
        worker.do("metrics.watch([make_entry('s', *rows, answers=answers, variant='shadow')])")
        worker.do("metrics.watch([make_entry('t', model=model('unknown'))]); metrics.report(LogStatus())")
    first.kill()
    found = second.samples()
    size = {
        key[1]: value for key, value in found.items() if key[0::2] == ("millrace_feature_rows_total", "size")
    }
    assert size == {"1": 2, "2": 2, "3": 4, "missing": 2}
    kind = {
        key[1]: value for key, value in found.items() if key[0::2] == ("millrace_feature_rows_total", "kind")
    }
    assert kind == {"flat": 8, "boat": 2}
    assert found["millrace_feature_sum", "size", "3"] == 2 * (-4 + 0.5 + 8 + 1.5)
    assert found["millrace_feature_squares", "size", "3"] == 2 * (16 + 0.25 + 64 + 2.25)
    assert found["millrace_feature_reference_share", "1", "size", "3"] == 0.5
    assert found["millrace_prediction_reference_share", "1", "3"] == 0.5
    for variant in ("champion", "shadow"):
        assert found["millrace_prediction_rows_total", "1", variant, "3"] == 4
        assert found["millrace_prediction_rows_total", "2", variant, "3"] == 6


def test_a_log_tells_its_metrics(workers: Any, tmp_path: Path) -> None:
    worker = workers()
    worker.do("from millrace.prediction_log import LogSettings, PredictionLog")
    worker.do("from tests.millrace.cases import make_problem")
    worker.do("metrics.serve('champion', model('3'), reference, MADE)")
    worker.do(f"log = PredictionLog(LogSettings(uri='sqlite:///{tmp_path}/log.db'), make_problem(), metrics)")
    worker.do("assert all(log.offer(make_entry(number)) for number in range(50)); log.close(60)")
    found = worker.samples()
    assert found["millrace_log_rows_total",] == 50
    assert found["millrace_feature_rows_total", "flat", "kind", "3"] == 50
    assert ("millrace_log_queue_rows",) not in found


def test_without_its_folder_it_says_what_to_set(tmp_path: Path) -> None:
    code = "from millrace.service_metrics import ServiceMetrics; ServiceMetrics([])"
    late = f"import prometheus_client, os; os.environ['PROMETHEUS_MULTIPROC_DIR'] = {str(tmp_path)!r}; "
    environment = {key: value for key, value in os.environ.items() if key != "PROMETHEUS_MULTIPROC_DIR"}
    for start in ("", late):
        done = subprocess.run(
            [sys.executable, "-c", start + code], cwd=ROOT, env=environment, text=True, capture_output=True
        )
        assert "PROMETHEUS_MULTIPROC_DIR must name a folder before Python imports" in done.stderr
