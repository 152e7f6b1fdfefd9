"""What is to run, what runs and what has run: a SQLite file that outlives kills and power cuts.

A journal that is rolled back, not a write-ahead log: writes are few, and when a transaction has ended, it and
the journal's removal are on the disk.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from millrace.errors import UserError
from scheduler.orders import Order

Taken = Literal["queued", "joined", "repeated"]
FORM = 1
SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, arguments TEXT NOT NULL, scope TEXT NOT NULL,
    told INTEGER NOT NULL, state TEXT NOT NULL, queued REAL NOT NULL, ready REAL NOT NULL,
    starts INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0, started REAL, ended REAL,
    pid INTEGER, outcome TEXT, sentence TEXT, log TEXT
);
CREATE INDEX IF NOT EXISTS jobs_state ON jobs (state);
CREATE TABLE IF NOT EXISTS causes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, cause TEXT NOT NULL UNIQUE, reason TEXT NOT NULL,
    job INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS schedules (name TEXT PRIMARY KEY, cron TEXT NOT NULL, next REAL NOT NULL);
CREATE TABLE IF NOT EXISTS tally (
    name TEXT, outcome TEXT, jobs INTEGER NOT NULL, PRIMARY KEY (name, outcome)
);
PRAGMA user_version = {FORM};
COMMIT;
"""
# How long another process is waited for, in seconds.
PATIENCE = 2.0
# Jobs that have ended, and causes, of which a repetition is known; older ones are deleted.
KEPT_JOBS = 200
KEPT_CAUSES = 20_000


class Job(msgspec.Struct, frozen=True):
    """A job; moments are seconds since 1970. `starts` and `failures` are counted, this start included."""

    id: int
    name: str
    arguments: tuple[str, ...]
    told: bool
    starts: int
    failures: int
    queued: float
    started: float | None
    ended: float | None
    pid: int | None
    outcome: str | None
    sentence: str | None
    log: str | None
    state: Literal["waiting", "running", "ended"]

    @property
    def seconds(self) -> float | None:
        """What it took, the last time."""
        return None if self.started is None or self.ended is None else max(self.ended - self.started, 0.0)


class Planned(msgspec.Struct, frozen=True):
    """A schedule's next moment, and by which expression, zone included, it was found."""

    cron: str
    next: float


class Queue:
    """The file. Every method is one transaction, and raises sqlite3.Error having changed nothing."""

    def __init__(self, path: Path) -> None:
        """Nothing is opened yet."""
        self._path = path
        # Of this process' threads; others wait for one another in SQLite.
        self._turn = threading.Lock()

    def check(self) -> None:
        """See that the file can be used.

        Raises:
            UserError: it cannot, and why.
        """
        try:
            with self._reading():
                pass
        except sqlite3.Error as error:
            raise UserError(f"{self._path}: {error}; if it is damaged, move it away.") from None

    def add(self, order: Order, now: float) -> tuple[Taken, int]:
        """Queue an order, unless its cause is known; return what became of it, and the job's number."""
        with self._writing() as database:
            return _add(database, order, now)

    def take(self, now: float, pause: float) -> Job | None:
        """The oldest job that waits, from now on running; none before it is ready.

        A moment that is further away than `pause`, the longest there is, is of a clock that was put back.
        """
        with self._writing() as database:
            taken = database.execute(
                """UPDATE jobs
                SET state = 'running', starts = starts + 1, started = ?, ended = NULL, pid = NULL
                WHERE id = (
                    SELECT id FROM jobs WHERE state = 'waiting' AND (ready <= ? OR ready > ?)
                    ORDER BY id LIMIT 1
                ) RETURNING *""",
                [now, now, now + pause],
            ).fetchall()
            return _job(taken[0]) if taken else None

    def running(self) -> Job | None:
        """The job that runs, or did when the scheduler was killed."""
        with self._reading() as database:
            row = database.execute("SELECT * FROM jobs WHERE state = 'running'").fetchone()
            return _job(row) if row else None

    def note_process(self, job: int, pid: int, log: str) -> None:
        """Remember a job's process."""
        with self._writing() as database:
            database.execute("UPDATE jobs SET pid = ?, log = ? WHERE id = ?", [pid, log, job])

    def put_back(self, job: int, ready: float, failed: str | None = None) -> None:
        """Let a job that ran wait again, until it is ready; `failed` says why, if it has."""
        with self._writing() as database:
            database.execute(
                """UPDATE jobs SET state = 'waiting', ready = ?, failures = failures + ?, sentence = ?
                WHERE id = ?""",
                [ready, failed is not None, failed, job],
            )

    def end(self, job: int, outcome: str, sentence: str, now: float) -> None:
        """End a job that ran, and forget what ended long ago."""
        with self._writing() as database:
            ended = database.execute(
                """UPDATE jobs SET state = 'ended', outcome = ?, sentence = ?, ended = ? WHERE id = ?
                RETURNING name""",
                [outcome, sentence, now, job],
            ).fetchone()
            database.execute(
                "INSERT INTO tally VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET jobs = jobs + 1",
                [ended["name"], outcome],
            )
            database.execute(
                """DELETE FROM jobs WHERE state = 'ended' AND id NOT IN (
                    SELECT id FROM jobs WHERE state = 'ended' ORDER BY id DESC LIMIT ?
                )""",
                [KEPT_JOBS],
            )
            database.execute("DELETE FROM causes WHERE id <= (SELECT MAX(id) FROM causes) - ?", [KEPT_CAUSES])

    def causes(self, job: int) -> list[tuple[str, str]]:
        """What a job is run for, the first first: causes and reasons."""
        with self._reading() as database:
            rows = database.execute("SELECT cause, reason FROM causes WHERE job = ? ORDER BY id", [job])
            return [(row["cause"], row["reason"]) for row in rows]

    def jobs(self, state: str, most: int = KEPT_JOBS) -> list[Job]:
        """The latest jobs in a state, the newest last."""
        with self._reading() as database:
            rows = database.execute(
                "SELECT * FROM jobs WHERE state = ? ORDER BY id DESC LIMIT ?", [state, most]
            )
            return [_job(row) for row in rows][::-1]

    def tally(self) -> dict[tuple[str, str], int]:
        """How many jobs ended how, by name and outcome, ever."""
        with self._reading() as database:
            return {
                (row["name"], row["outcome"]): row["jobs"] for row in database.execute("SELECT * FROM tally")
            }

    def planned(self) -> dict[str, Planned]:
        """The schedules and their next moments."""
        with self._reading() as database:
            rows = database.execute("SELECT * FROM schedules ORDER BY next, name")
            return {row["name"]: Planned(row["cron"], row["next"]) for row in rows}

    def plan(self, planned: Mapping[str, Planned]) -> None:
        """Have these schedules, and no others."""
        with self._writing() as database:
            database.execute("DELETE FROM schedules")
            rows = [(name, one.cron, one.next) for name, one in planned.items()]
            database.executemany("INSERT INTO schedules VALUES (?, ?, ?)", rows)

    def move(self, name: str, following: float) -> None:
        """Give a schedule another next moment."""
        with self._writing() as database:
            database.execute("UPDATE schedules SET next = ? WHERE name = ?", [following, name])

    def fire(self, order: Order, following: float, now: float) -> tuple[Taken, int]:
        """Queue what a schedule has come to, and move it on to its next moment: both or neither."""
        with self._writing() as database:
            database.execute("UPDATE schedules SET next = ? WHERE name = ?", [following, order.name])
            return _add(database, order, now)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own each time: what went wrong with one does not concern the next."""
        with self._turn:
            database = sqlite3.connect(self._path, timeout=PATIENCE, isolation_level=None)
            with closing(database):
                database.row_factory = sqlite3.Row
                # A commit is on the disk when it returns, the folder's entries, too.
                database.execute("PRAGMA synchronous = EXTRA")
                [form] = database.execute("PRAGMA user_version").fetchone()
                if not form:
                    database.executescript(SCHEMA)
                elif form != FORM:
                    raise sqlite3.DatabaseError("another version of Millrace wrote it; move it away")
                yield database


def _add(database: sqlite3.Connection, order: Order, now: float) -> tuple[Taken, int]:
    known = database.execute("SELECT job FROM causes WHERE cause = ?", [order.cause]).fetchone()
    if known:
        return "repeated", int(known["job"])
    waiting = database.execute(
        "SELECT id FROM jobs WHERE state = 'waiting' AND scope = ? ORDER BY id LIMIT 1", [order.scope]
    ).fetchone()
    if waiting:
        job = int(waiting["id"])
    else:
        [job] = database.execute(
            """INSERT INTO jobs (name, arguments, scope, told, state, queued, ready)
            VALUES (?, ?, ?, ?, 'waiting', ?, ?) RETURNING id""",
            [order.name, json.dumps(order.arguments), order.scope, order.told, now, now],
        ).fetchone()
    database.execute(
        "INSERT INTO causes (cause, reason, job) VALUES (?, ?, ?)", [order.cause, order.reason, job]
    )
    return ("joined" if waiting else "queued"), int(job)


def _job(row: sqlite3.Row) -> Job:
    return msgspec.convert({**row, "arguments": json.loads(row["arguments"])}, Job, strict=False)
