"""The process itself: one a home, sentences for what can be mended, and what status shows."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing

from tests.conftest import ROOT
from tests.scheduler.running import PATIENCE, Running, alert


def run(scheduler: Running, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "scheduler", *arguments, f"--schedules={scheduler.schedules()}"],
        cwd=ROOT,
        env={**os.environ, "MILLRACE_HOME": str(scheduler.home)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def refused(scheduler: Running, *arguments: str) -> str:
    done = run(scheduler, *arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_second_one_of_the_same_home_is_refused(scheduler: Running) -> None:
    scheduler.start()
    assert f"Another scheduler runs on {scheduler.folder}" in refused(scheduler, "start", "--port=0")
    scheduler.ring(alert())
    scheduler.ended()


def test_an_address_that_is_taken(scheduler: Running) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = refused(scheduler, "start", f"--port={port}")
    assert f"127.0.0.1:{port}: Address already in use; choose another with --port." in told


def test_a_damaged_queue(scheduler: Running) -> None:
    (scheduler.folder / "queue.db").write_bytes(b"no database" * 100)
    for action in ("start", "status"):
        assert "queue.db: file is not a database; if it is damaged, move it away." in refused(
            scheduler, action
        )


def test_a_queue_that_is_locked_at_the_start(scheduler: Running) -> None:
    scheduler.queue.check()
    with closing(sqlite3.connect(scheduler.folder / "queue.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert f"{scheduler.folder}: cannot be written: database is locked." in refused(
            scheduler, "start", "--port=0"
        )
    assert not (scheduler.folder / "token").exists()


def test_a_wrong_file(scheduler: Running) -> None:
    scheduler.settings = {"shedules": {}}
    assert "unknown key 'shedules'. Did you mean 'schedules'?" in refused(scheduler, "start")


def test_it_listens_on_this_machine_alone(scheduler: Running) -> None:
    scheduler.start()
    assert scheduler.url.startswith("http://127.0.0.1:")


def test_status(scheduler: Running) -> None:
    weekly = {"cron": "0 3 * * sun", "pipeline": "retraining", "problem": "iris"}
    nightly = {"cron": "0 1 * * *", "pipeline": "inference", "problem": "iris", "enabled": False}
    scheduler.settings |= {"schedules": {"weekly": weekly, "nightly": nightly}}
    shown = run(scheduler, "status").stdout
    assert "The scheduler does not run: make scheduler" in shown
    assert "not planned yet" in shown
    scheduler.behave(code=2)
    scheduler.start()
    scheduler.ring(alert())
    scheduler.ended()
    scheduler.behave(hold=True)
    (scheduler.home / "began").unlink()
    scheduler.ring(alert("c1"))
    scheduler.began()
    scheduler.ring(alert("c2", annotations={"summary": "[bold]drift[/bold]"}))
    shown = run(scheduler, "status").stdout
    assert "The scheduler runs." in shown
    [weekly_line] = [line for line in shown.splitlines() if "weekly" in line]
    assert "Sun 20" in weekly_line
    [nightly_line] = [line for line in shown.splitlines() if "nightly" in line]
    assert " off " in nightly_line
    running, waiting, ended = (shown.split(f"\n{name} ")[1] for name in ("Running", "Waiting", "Ended"))
    assert "│ 2   │ alert" in running
    assert "[bold]drift[/bold]" in waiting
    assert "refused │ it ends with 2" in ended
    assert "1-alert.log" in ended


def test_it_ends_when_it_is_told_so_again_and_again(scheduler: Running) -> None:
    """As by a Ctrl-C that make passes on, too: a signal that comes while another is dealt with."""
    for _ in range(5):
        scheduler.start()
        assert scheduler.process
        for number in (signal.SIGTERM, signal.SIGINT) * 200:
            scheduler.process.send_signal(number)
        assert scheduler.process.wait(10) == 0
