"""The process: one a home, on one address, until it is told to stop."""

import logging
import signal
import socket
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from filelock import FileLock, Timeout

from millrace.errors import UserError
from scheduler import token
from scheduler.calendar import Calendar
from scheduler.metrics import Metrics
from scheduler.queue import Queue
from scheduler.receiver import Receiver
from scheduler.settings import Schedules
from scheduler.worker import Worker
from stacks.environment import ROOT, home

log = logging.getLogger("scheduler")
HOST, PORT = "127.0.0.1", 3002
COMMAND = (sys.executable, str(ROOT / "run.py"))


def folder() -> Path:
    """Where the queue, the token, locks and logs are."""
    return home() / "scheduler"


def is_running() -> bool:
    """Whether a scheduler has this home."""
    try:
        with _only_one(folder(), 0):
            return False
    except Timeout:
        return True


def start(settings: Schedules, host: str = HOST, port: int = PORT, command: Sequence[str] = COMMAND) -> int:
    """Run until a signal says to stop. Returns 0; 1 after a fault, which the log tells.

    Jobs are run by `command`, run.py, with arguments.

    Raises:
        UserError: another scheduler has this home, the address is taken, or the home cannot be used.
    """
    place = folder()
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Who asks for its status holds the lock for a moment.
        with _only_one(place, 1), _bound(host, port) as listening:
            queue = Queue(place / "queue.db")
            queue.check()
            return _run(settings, place, queue, listening, command)
    except Timeout:
        raise UserError(f"Another scheduler runs on {place}; one is enough.") from None
    except (OSError, sqlite3.Error) as error:
        raise UserError(f"{place}: cannot be written: {error}.") from None


def _run(
    settings: Schedules, place: Path, queue: Queue, listening: socket.socket, command: Sequence[str]
) -> int:
    stop, awake, faults = threading.Event(), threading.Event(), []
    calendar = Calendar(queue, settings)
    worker = Worker(queue, place, settings, command)
    receiver = Receiver(queue, Metrics(queue), place, settings.alerts, awake)
    server = uvicorn.Server(
        uvicorn.Config(
            receiver.application(),
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            limit_concurrency=256,
            timeout_graceful_shutdown=5,
        )
    )

    def end() -> None:
        stop.set()
        awake.set()
        server.should_exit = True

    def told_to_end(*_: Any) -> None:
        # A second signal would come between: `stop` has a lock, which the first one may hold.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        end()

    def part(run: Callable[[], None]) -> threading.Thread:
        """A thread; where it fails, the process ends, for others to see and to start it anew."""

        def guarded() -> None:
            try:
                run()
            except Exception:
                log.exception("A fault of the scheduler:")
                faults.append(run)
            finally:
                end()

        return threading.Thread(target=guarded)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, told_to_end)
    calendar.plan(datetime.now(UTC))
    where = token.provide(place) or token.TOKEN
    address, number = listening.getsockname()[:2]
    log.info("the scheduler is on http://%s:%d; its token is in %s", address, number, where)
    parts = [
        part(lambda: calendar.run(stop, awake)),
        part(lambda: worker.run(stop, awake)),
        part(lambda: server.run(sockets=[listening])),
    ]
    for thread in parts:
        thread.start()
    for thread in parts:
        while thread.is_alive():
            # Python looks for signals as this begins and ends: one that comes between is not to wait longer.
            thread.join(1)
    log.info("the scheduler has stopped")
    return 1 if faults else 0


def _only_one(place: Path, seconds: float) -> FileLock:
    return FileLock(place / "lock", timeout=seconds)


def _bound(host: str, port: int) -> socket.socket:
    """A socket on an address.

    Raises:
        UserError: it cannot be had.
    """
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        # From now on who asks is answered, if only in a moment.
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise UserError(f"{host}:{port}: {error.strerror}; choose another with --port.") from None
    return listening
