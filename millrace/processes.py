"""Processes that go on when the command that started them ends, and are found again by the next one."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

# Theirs would lead a server to other stores, accounts or configurations than its own.
FOREIGN = ("ZENML_", "MLFLOW_", "_MLFLOW_", "AWS_", "CEPH_", "PG", "MYSQL_", "MILLRACE_", "PYTHONPATH")


def clean_environment() -> dict[str, str]:
    """This process' environment without what is meant for other servers and clients."""
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}


def start(
    record: Path, command: Sequence[str], environment: Mapping[str, str], user: str | None, log: Path
) -> None:
    """Start a process in a session of its own and note it in `record`; its output is appended to `log`."""
    log.parent.mkdir(mode=0o700, exist_ok=True)
    record.parent.mkdir(mode=0o700, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env={**clean_environment(), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
            cwd="/",
            **as_user(user),
        )
    noted = {"pid": process.pid, "started": psutil.Process(process.pid).create_time()}
    record.write_text(json.dumps(noted))


def as_user(user: str | None) -> dict[str, Any]:
    """Arguments of `subprocess` that run a command as another user; none for this one."""
    return {"user": user, "group": user, "extra_groups": []} if user else {}


def running(record: Path) -> list[psutil.Process]:
    """The living processes of the session that was started under `record`, its leader first.

    A pid is used again in time, so the leader is known by its start time. When only the leader is gone,
    those it left behind are found: while they live, its pid is not given to another.
    """
    try:
        noted = json.loads(record.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return []
    leader, found = noted["pid"], []
    for pid in psutil.pids():
        try:
            if os.getsid(pid) != leader:
                continue
            process = psutil.Process(pid)
            if pid == leader and abs(process.create_time() - noted["started"]) > 1:
                return []
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return sorted(found, key=lambda process: process.pid != leader)


def is_led(record: Path) -> bool:
    """Whether the process that was started under `record` lives."""
    processes = running(record)
    return bool(processes) and processes[0].pid == json.loads(record.read_text())["pid"]


def stop(record: Path, by: signal.Signals, patience: float = 20) -> bool:
    """End what runs under `record`, by a signal, after `patience` seconds by force; False: nothing ran."""
    processes = running(record)
    if is_led(record):
        processes[0].send_signal(by)
        _wait(record, patience)
    # The leader may have left some behind.
    while left := running(record):
        for process in left:
            process.kill()
        _wait(record, 1)
    record.unlink(missing_ok=True)
    return bool(processes)


def _wait(record: Path, seconds: float) -> None:
    """Wait for the end of a session; not for its dead to be buried, which is their parent's business."""
    end = time.monotonic() + seconds
    while running(record) and time.monotonic() < end:
        time.sleep(0.05)
