"""The webhook: who may ring, what is taken for an alert, and that what is answered 202 is on the disk."""

import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import httpx
import psutil
import pytest

from tests.scheduler.running import PATIENCE, Running, alert, notification


def send(scheduler: Running, content: Any, **headers: str) -> httpx.Response:
    token = (scheduler.folder / "token").read_text()
    common = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = content if isinstance(content, bytes) else None
    return httpx.post(
        f"{scheduler.url}/v1/alerts",
        content=body,
        json=None if body is not None else content,
        headers={**common, **headers},
        timeout=PATIENCE,
    )


def problem(answer: httpx.Response, status: int) -> str:
    """The sentence of a problem document."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == status
    assert document.keys() == {"type", "title", "status", "detail"}
    return str(document["detail"])


def outcomes(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 202, answer.text
    return [one["outcome"] for one in answer.json()["alerts"]]


def test_an_answer_202_outlives_a_kill(scheduler: Running) -> None:
    scheduler.behave(hold=True)
    scheduler.start()
    # The first is begun, the second waits.
    assert outcomes(scheduler.ring(alert("a1"))) == ["queued"]
    scheduler.began()
    assert outcomes(scheduler.ring(alert("a2"))) == ["queued"]
    scheduler.kill()
    scheduler.release()
    scheduler.start()
    assert [job.outcome for job in scheduler.ended(2)] == ["done", "done"]


def test_a_hundred_times_the_same_alert_is_one_job(scheduler: Running) -> None:
    scheduler.start()
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: scheduler.ring(alert()), range(100)))
    found = [one for answer in answers for one in outcomes(answer)]
    assert sorted(found) == ["queued", *["repeated"] * 99]
    scheduler.ended()
    assert outcomes(scheduler.ring(alert())) == ["repeated"]
    assert len(scheduler.calls) == 1
    counted = scheduler.counted("millrace_alerts_received_total")
    assert counted['{outcome="queued"}'] == 1
    assert counted['{outcome="repeated"}'] == 100


def test_another_alert_of_a_problem_that_waits_joins_and_one_of_another_problem_does_not(
    scheduler: Running,
) -> None:
    scheduler.behave(hold=True)
    scheduler.start()
    scheduler.ring(alert("a1"))
    scheduler.began()
    decay = alert("a2", labels={"retrain": "decay"}, annotations={"summary": "iris decays"})
    again = alert("a1", starts="2026-11-26T09:00:00Z")
    other = alert("a3", labels={"problem": "breast_cancer"})
    # What runs has read its rows already: the next asks for a run of its own, and others join that.
    assert outcomes(scheduler.ring(decay, again, other)) == ["queued", "joined", "queued"]
    scheduler.release()
    scheduler.ended(3)
    first, second, third = (call["arguments"] for call in scheduler.calls)
    assert "--problem=iris" in first
    assert "--trigger=decay" in second
    assert "--cause=a2@2026-11-26T08:00:00.123456789Z" in second
    assert "--reason=iris decays; iris has drifted" in second
    assert "--problem=breast_cancer" in third


def test_a_resolved_alert_does_nothing(scheduler: Running) -> None:
    scheduler.start()
    assert outcomes(scheduler.ring(alert(status="resolved"))) == ["resolved"]
    assert scheduler.queue.jobs("waiting") == scheduler.queue.jobs("ended") == []


def test_only_who_has_the_token_may_ring(scheduler: Running) -> None:
    scheduler.start()
    path = scheduler.folder / "token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    token = path.read_text()
    assert len(token) >= 32
    wrong = ("", f"Bearer {token}x", f"Bearer {token[:-1]}", "Bearer", f"Basic {token}", "Bearer \xe4")
    for authorization in wrong:
        answer = send(scheduler, notification(alert()), Authorization=authorization.encode("latin-1"))
        assert "Authorization: Bearer" in problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    # It is read anew, so it can be changed.
    path.write_text("another\n")
    assert send(scheduler, notification(alert()), Authorization=f"Bearer {token}").status_code == 401
    assert send(scheduler, notification(alert()), Authorization="bearer another").status_code == 202
    path.unlink()
    answer = httpx.post(f"{scheduler.url}/v1/alerts", json=notification(alert("ff")))
    assert "has no token: set MILLRACE_SCHEDULER_TOKEN" in problem(answer, 503)
    assert token not in scheduler.log
    [_] = scheduler.ended()


def test_a_token_that_is_given_is_not_made(scheduler: Running) -> None:
    given = scheduler.home / "given"
    scheduler.environment = {"MILLRACE_SCHEDULER_TOKEN_FILE": str(given)}
    scheduler.start()
    assert not (scheduler.folder / "token").exists()
    assert not given.exists()
    answer = httpx.post(f"{scheduler.url}/v1/alerts", json=notification(alert()))
    assert "closed" in problem(answer, 503)
    given.write_text("sesame")
    (scheduler.folder / "token").write_text("sesame")
    assert outcomes(scheduler.ring(alert())) == ["queued"]


def test_what_alertmanager_does_not_send_is_refused(scheduler: Running) -> None:
    scheduler.start()
    whole = notification(alert())
    assert "not JSON" in problem(send(scheduler, b"{"), 400)
    assert "not JSON" in problem(send(scheduler, b"\xff\xfe"), 400)
    assert "not JSON" in problem(send(scheduler, b'{"more":' + b"[" * 200_000), 400)
    assert "application/json" in problem(send(scheduler, whole, **{"Content-Type": "text/plain"}), 415)
    assert "1,048,576 bytes" in problem(send(scheduler, b" " * 2**21), 413)
    bad: list[tuple[Any, str]] = [
        ([], "Expected `object`"),
        ({}, "`version`"),
        ({**whole, "version": "5"}, "$.version"),
        ({**whole, "alerts": [{}]}, "$.alerts[0]"),
        (notification(alert("not hexadecimal")), "$.alerts[0].fingerprint"),
        (notification(alert("a" * 33)), "$.alerts[0].fingerprint"),
        (notification(alert(starts="yesterday")), "$.alerts[0].startsAt"),
        (notification(alert(starts="2026-11-26T08:00:00Z\n--stack=x")), "$.alerts[0].startsAt"),
        (notification(alert(status="odd")), "$.alerts[0].status"),
        (notification(*[alert()] * 1001), "$.alerts"),
        (notification(alert(labels={"problem": "--stack=production"})), "'problem' is none of"),
        (notification(alert(labels={"problem": "../problems/iris"})), "'problem' is none of"),
        (notification(alert(labels={"retrain": "true"})), "'retrain' is none of drift, decay, data"),
    ]
    for content, told in bad:
        assert told in problem(send(scheduler, content), 422)
    assert "takes POST" in problem(httpx.get(f"{scheduler.url}/v1/alerts"), 405)
    assert "There is no '/'" in problem(httpx.get(f"{scheduler.url}/"), 404)
    assert scheduler.queue.jobs("waiting") == scheduler.queue.jobs("ended") == []
    assert scheduler.counted("millrace_alerts_received_total")['{outcome="refused"}'] == 3


def test_a_useless_alert_does_not_keep_others_out(scheduler: Running) -> None:
    scheduler.start()
    answer = scheduler.ring(alert("a1", labels={"problem": "irish"}), alert("a2"))
    assert outcomes(answer) == ["refused", "queued"]
    [job] = scheduler.ended()
    assert "--cause=a2@2026-11-26T08:00:00.123456789Z" in scheduler.calls[0]["arguments"]
    assert job.outcome == "done"


def test_a_locked_queue_is_503_and_nothing_is_lost(scheduler: Running) -> None:
    scheduler.start()
    with closing(sqlite3.connect(scheduler.folder / "queue.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        answer = scheduler.ring(alert())
        assert "send it again" in problem(answer, 503)
        assert answer.headers["retry-after"] == "5"
        assert "cannot be read" in problem(httpx.get(f"{scheduler.url}/metrics", timeout=PATIENCE), 503)
        assert httpx.get(f"{scheduler.url}/livez").status_code == 200
        other.execute("ROLLBACK")
    assert outcomes(scheduler.ring(alert())) == ["queued"]
    [job] = scheduler.ended()
    assert job.outcome == "done"
    assert scheduler.counted("millrace_alerts_received_total")['{outcome="unavailable"}'] == 1


def test_a_full_disk_is_503_and_nothing_is_lost(scheduler: Running) -> None:
    scheduler.start()
    assert scheduler.process
    process = psutil.Process(scheduler.process.pid)
    before = process.rlimit(psutil.RLIMIT_FSIZE)
    # No file of this process may grow beyond a few bytes any more: as on a disk that is full.
    process.rlimit(psutil.RLIMIT_FSIZE, (16, before[1]))
    assert "send it again" in problem(scheduler.ring(alert()), 503)
    process.rlimit(psutil.RLIMIT_FSIZE, before)
    assert outcomes(scheduler.ring(alert())) == ["queued"]
    [job] = scheduler.ended()
    assert job.outcome == "done"


def test_metrics_are_there_from_the_start_with_those_of_pipelines(scheduler: Running) -> None:
    folder = scheduler.home / "outcomes" / "local" / "training"
    folder.mkdir(parents=True)
    (folder / "iris.failed.json").write_text(
        '{"subject":{"stack":"local","pipeline":"training","problem":"iris"},"outcome":"failed","ended":1.5}'
    )
    schedule = {"cron": "0 3 * * sun", "pipeline": "retraining", "problem": "iris"}
    scheduler.settings |= {"schedules": {"weekly": schedule}}
    scheduler.start()
    assert scheduler.counted("millrace_jobs_waiting") == {"": 0}
    assert set(scheduler.counted("millrace_alerts_received_total").values()) == {0}
    assert scheduler.counted("millrace_schedule_next_timestamp_seconds").keys() == {'{name="weekly"}'}
    failed = scheduler.counted("millrace_pipeline_failed")
    assert failed == {'{pipeline="training",problem="iris",stack="local"}': 1}


@pytest.mark.parametrize("path", ["/livez", "/metrics"])
def test_nobody_needs_a_token_to_look(scheduler: Running, path: str) -> None:
    scheduler.start()
    assert httpx.get(f"{scheduler.url}{path}").status_code == 200
