"""A log in a SQLite file that several processes write to at once.

Rows are inserted many a statement: SQLite works without Python's interpreter lock, which the requests need,
and a statement a row would ask for it again at each.
"""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any

from millrace.contract import Problem
from millrace.prediction_log.entries import Entry, ModelName, Outcomes, RowForms, encode_each, encoder

SCHEMA = """
CREATE TABLE IF NOT EXISTS models (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL,
    UNIQUE (name, version, digest)
);
CREATE TABLE IF NOT EXISTS predictions (
    id INTEGER PRIMARY KEY, time REAL NOT NULL, request TEXT NOT NULL, row INTEGER NOT NULL, key TEXT,
    variant TEXT NOT NULL, model INTEGER NOT NULL REFERENCES models (id), seconds REAL NOT NULL,
    features TEXT NOT NULL, answer TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS predictions_time ON predictions (time);
CREATE INDEX IF NOT EXISTS predictions_key ON predictions (key) WHERE key IS NOT NULL;
CREATE TABLE IF NOT EXISTS outcomes (
    id INTEGER PRIMARY KEY, time REAL NOT NULL, request TEXT, row INTEGER NOT NULL, key TEXT,
    actual TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS outcomes_time ON outcomes (time);
CREATE INDEX IF NOT EXISTS outcomes_request ON outcomes (request, row) WHERE request IS NOT NULL;
CREATE INDEX IF NOT EXISTS outcomes_key ON outcomes (key) WHERE key IS NOT NULL;
"""
PREDICTION = ("time", "request", "row", "key", "variant", "model", "seconds", "features", "answer")
OUTCOME = ("time", "request", "row", "key", "actual")
# Rows a statement.
CHUNK = 1_000
# How many rows are deleted at once, so that nobody waits long for their turn.
PRUNED = 5_000
# How long another process is waited for, in seconds.
PATIENCE = 1.0
DAY = 86_400


class SQLiteStore:
    """Writes a log to a SQLite file, which is made where there is none."""

    def __init__(self, path: Path, problem: Problem, keep_days: float | None) -> None:
        """Nothing is opened yet."""
        self._path = path
        self._keep_days = keep_days
        self._forms = RowForms(problem)
        self._database: sqlite3.Connection | None = None
        self._file: tuple[int, int] = (0, 0)
        self._models: dict[ModelName, int] = {}

    def write(self, entries: Sequence[Entry]) -> None:
        """Write all of the rows or none."""
        with self._transaction() as database:
            _insert(database, "predictions", PREDICTION, self._rows(database, entries))

    def write_outcomes(self, outcomes: Sequence[Outcomes]) -> None:
        """Write all of the outcomes or none."""
        rows = (
            (together.time, one.request, one.row, one.key, encoder.encode(one.actual).decode())
            for together in outcomes
            for one in together.rows
        )
        with self._transaction() as database:
            _insert(database, "outcomes", OUTCOME, rows)

    def tidy(self, now: float) -> None:
        """Delete some of what is too old, if anything is; and see that the file is there."""
        with self._connected():
            if self._keep_days is None:
                return
        oldest = now - DAY * self._keep_days
        for table in ("predictions", "outcomes"):
            with self._connected() as database:
                old = database.execute(f"SELECT 1 FROM {table} WHERE time < ? LIMIT 1", [oldest]).fetchone()
            if old:
                with self._transaction() as database:
                    some = f"SELECT id FROM {table} WHERE time < ? ORDER BY time LIMIT {PRUNED}"
                    database.execute(f"DELETE FROM {table} WHERE id IN ({some})", [oldest])

    def close(self) -> None:
        """Let go of the file."""
        if self._database is not None:
            # What is committed is committed; a damaged file may refuse to be closed in order.
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    def _rows(self, database: sqlite3.Connection, entries: Sequence[Entry]) -> Iterator[tuple[Any, ...]]:
        for kind, together in groupby(entries, lambda entry: type(entry.rows[0])):
            alike, form = list(together), self._forms.of(kind)
            numbered = [(entry, number) for entry in alike for number in range(len(entry.rows))]
            rows = [row for entry in alike for row in entry.rows]
            answers = encode_each([answer for entry in alike for answer in entry.answers])
            for (entry, number), row, features, answer in zip(
                numbered, rows, form.texts(rows), answers, strict=True
            ):
                model = self._model(database, entry.model)
                yield (
                    entry.time, entry.request, number, form.key(row), entry.variant, model, entry.seconds,
                    features, answer,
                )  # fmt: skip

    def _model(self, database: sqlite3.Connection, model: ModelName) -> int:
        known = self._models.get(model)
        if known is None:
            database.execute("INSERT OR IGNORE INTO models (name, version, digest) VALUES (?, ?, ?)", model)
            where = "SELECT id FROM models WHERE name = ? AND version = ? AND digest = ?"
            known = self._models[model] = int(database.execute(where, model).fetchone()[0])
        return known

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connected() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                # A number that was given to a model is taken back with the rest.
                self._models.clear()
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """A connection to the file that is there now; after an error, the next is a new one."""
        try:
            if self._database is None or self._file != _identity(self._path):
                self.close()
                self._database = self._open()
            yield self._database
        except (sqlite3.Error, OSError):
            self.close()
            raise

    def _open(self) -> sqlite3.Connection:
        self._models.clear()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self._path, timeout=PATIENCE, isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        # A commit outlives this process; what the last seconds before a power cut wrote may be lost, whole.
        database.execute("PRAGMA synchronous = NORMAL")
        database.executescript(SCHEMA)
        self._file = _identity(self._path)
        return database


def _insert(
    database: sqlite3.Connection, table: str, columns: tuple[str, ...], rows: Iterator[tuple[Any, ...]]
) -> None:
    head = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "
    one = f"({', '.join('?' * len(columns))})"
    while chunk := list(islice(rows, CHUNK)):
        database.execute(head + ", ".join([one] * len(chunk)), list(chain.from_iterable(chunk)))


def _identity(path: Path) -> tuple[int, int]:
    """Which file a path leads to: one that was deleted would still take rows, and nobody could read them."""
    status = path.stat()
    return status.st_dev, status.st_ino
