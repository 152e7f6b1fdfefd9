"""Jobs as processes: how they end, what a killed scheduler leaves, what a stopped one does."""

import os
import signal
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from scheduler.queue import Planned
from scheduler.worker import LOG_BYTES, shorten
from tests.conftest import ROOT
from tests.scheduler.running import Running, alert, until


def test_a_job_is_called_with_what_it_is_for(scheduler: Running) -> None:
    scheduler.start()
    assert scheduler.ring(alert()).status_code == 202
    [job] = scheduler.ended()
    assert (job.outcome, job.sentence) == ("done", "kept: the champion is better")
    [call] = scheduler.calls
    assert call["arguments"] == [
        "--pipeline=retraining",
        "--problem=iris",
        "--stack=local",
        "--trigger=drift",
        f"--summary={scheduler.folder}/logs/1-alert.json",
        "--cause=a1b2@2026-11-26T08:00:00.123456789Z",
        "--reason=iris has drifted",
    ]
    assert job.log == f"{scheduler.folder}/logs/1-alert.log"
    assert Path(job.log).read_text() == "\nall is well\n"
    assert scheduler.counted("millrace_jobs_total") == {'{name="alert",outcome="done"}': 1}
    assert scheduler.counted("millrace_job_seconds").keys() == {'{name="alert"}'}
    assert scheduler.stop() == 0
    lines = scheduler.log.splitlines()
    # One when a job is queued, begins and ends.
    assert len(lines) == 5, lines


def test_a_job_is_not_told_the_token(scheduler: Running) -> None:
    scheduler.environment = {"MILLRACE_SCHEDULER_TOKEN": "sesame", "OTHER": "seen"}
    (scheduler.folder / "token").write_text("sesame")
    scheduler.start()
    scheduler.ring(alert())
    scheduler.ended()
    environment = scheduler.calls[0]["environment"]
    assert environment["OTHER"] == "seen"
    assert "MILLRACE_SCHEDULER_TOKEN" not in environment


@pytest.mark.parametrize(
    ("code", "outcome", "calls"),
    [(2, "refused", 1), (3, "incomplete", 1), (1, "failed", 2), (-signal.SIGKILL, "failed", 2)],
)
def test_what_can_be_mended_is_not_tried_again_and_a_fault_is_once(
    scheduler: Running, code: int, outcome: str, calls: int
) -> None:
    scheduler.behave(code=code)
    scheduler.start()
    scheduler.ring(alert())
    [job] = scheduler.ended()
    assert (job.outcome, job.sentence, job.starts) == (outcome, f"it ends with {code}", calls)
    assert len(scheduler.calls) == calls
    # Each try has the same cause, so that the command knows what it has begun.
    assert len({tuple(call["arguments"]) for call in scheduler.calls}) == 1
    assert scheduler.counted("millrace_jobs_total") == {f'{{name="alert",outcome="{outcome}"}}': 1}


def test_a_killed_scheduler_s_job_is_found_again_and_not_started_twice(scheduler: Running) -> None:
    scheduler.behave(hold=True)
    scheduler.start()
    scheduler.ring(alert())
    process = scheduler.began()
    scheduler.kill()
    assert process.is_running()
    scheduler.start()
    until(lambda: "job 1 alert still runs" in scheduler.log)
    # Another is not begun meanwhile; nor does the same alert ask for a second.
    assert scheduler.ring(alert()).json()["alerts"][0]["outcome"] == "repeated"
    assert scheduler.ring(alert(starts="2026-11-26T09:00:00Z")).json()["alerts"][0]["outcome"] == "queued"
    assert len(scheduler.calls) == 1
    scheduler.release()
    first, second = scheduler.ended(2)
    assert (first.outcome, first.starts) == ("done", 1)
    assert second.outcome == "done"
    assert len(scheduler.calls) == 2


def test_a_job_that_died_with_its_scheduler_runs_again(scheduler: Running) -> None:
    scheduler.behave(hold=True)
    scheduler.start()
    scheduler.ring(alert())
    process = scheduler.began()
    scheduler.kill()
    process.kill()
    scheduler.release()
    scheduler.start()
    [job] = scheduler.ended()
    assert (job.outcome, job.starts, job.failures) == ("done", 2, 0)
    first, second = scheduler.calls
    assert first["arguments"] == second["arguments"]


def test_told_to_stop_it_interrupts_the_job_and_the_rest_waits(scheduler: Running) -> None:
    scheduler.behave(hold=True)
    scheduler.start()
    scheduler.ring(alert())
    process = scheduler.began()
    scheduler.ring(alert("c3", labels={"problem": "breast_cancer"}))
    assert scheduler.stop() == 0
    assert not process.is_running()
    assert [job.id for job in scheduler.queue.jobs("waiting")] == [1, 2]
    assert "stopped; the same command goes on" in (scheduler.folder / "logs" / "1-alert.log").read_text()
    scheduler.release()
    scheduler.start()
    assert [(job.outcome, job.failures) for job in scheduler.ended(2)] == [("done", 0)] * 2


def test_told_to_stop_it_interrupts_the_job_of_the_one_before(scheduler: Running) -> None:
    scheduler.behave(hold=True)
    scheduler.start()
    scheduler.ring(alert())
    process = scheduler.began()
    scheduler.kill()
    scheduler.start()
    until(lambda: "job 1 alert still runs" in scheduler.log)
    assert scheduler.stop() == 0
    assert not _in_group(process, [process.pid])
    assert [job.id for job in scheduler.queue.jobs("waiting")] == [1]


def test_a_job_that_does_not_stop_is_killed(scheduler: Running) -> None:
    scheduler.settings |= {"stop_seconds": 0.2}
    scheduler.behave(hold=True, deaf=True)
    scheduler.start()
    scheduler.ring(alert())
    process = scheduler.began()
    assert scheduler.stop() == 0
    assert not process.is_running()
    assert [job.id for job in scheduler.queue.jobs("waiting")] == [1]


def test_a_job_that_hangs_is_stopped(scheduler: Running) -> None:
    scheduler.settings |= {"limit_hours": 0.5 / 3600}
    scheduler.behave(hold=True)
    scheduler.start()
    scheduler.ring(alert())
    [job] = scheduler.ended()
    assert (job.outcome, job.starts) == ("failed", 2)
    assert job.sentence
    assert job.sentence.startswith("stopped after 0.0001")


def test_what_a_job_leaves_behind_ends_with_it(scheduler: Running) -> None:
    scheduler.behave(leave=True)
    scheduler.start()
    scheduler.ring(alert())
    scheduler.ring(alert("c3", labels={"problem": "breast_cancer"}))
    assert [job.outcome for job in scheduler.ended(2)] == ["done", "done"]
    leaders = [call["pid"] for call in scheduler.calls]
    until(lambda: not [p for p in psutil.process_iter(["status"]) if _in_group(p, leaders)])


def _in_group(process: psutil.Process, leaders: list[int]) -> bool:
    try:
        return os.getpgid(process.pid) in leaders and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


def test_logs_are_kept_short(scheduler: Running) -> None:
    scheduler.behave(print=3 * LOG_BYTES)
    scheduler.start()
    scheduler.ring(alert())
    [job] = scheduler.ended()
    assert job.log
    text = Path(job.log).read_text()
    assert len(text) == LOG_BYTES
    assert text.endswith("all is well\n")


def test_a_log_that_is_shortened_goes_on_behind(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"a" * (2 * LOG_BYTES) + b"b")
        shorten(path)
        writer.write(b"c")
    assert path.read_bytes() == b"a" * (LOG_BYTES - 1) + b"bc"


def test_run_py_itself_is_what_runs(scheduler: Running) -> None:
    """A problem without a prediction log is nothing to monitor, as run.py says."""
    schedule = {"cron": "0 4 * * *", "pipeline": "monitoring", "problem": "iris"}
    scheduler.settings |= {"schedules": {"watch": schedule}}
    yesterday = datetime.now(UTC).timestamp() - 86_400
    scheduler.queue.plan({"watch": Planned("0 4 * * * UTC", yesterday)})
    scheduler.start(ROOT / "run.py")
    [job] = scheduler.ended()
    assert (job.name, job.outcome) == ("watch", "refused")
    assert job.sentence
    assert "iris" in job.sentence
