"""A log in a SQLite file that several processes write to at once.

A request is one record, its body and its answers as they came and went: to take them apart is the readers'
work, not that of a process that answers. A view has its rows, for whoever looks with SQL. Records are
inserted many a statement: SQLite works without Python's interpreter lock, which the requests need, and a
statement a record would ask for it again at each.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import msgspec

from millrace.contract import Problem
from millrace.prediction_log.entries import Entry, ModelName, Outcomes

# Kept in the file: one of another form is neither written nor read.
FORM = 1
SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS models (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL,
    UNIQUE (name, version, digest)
);
CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY, time REAL NOT NULL, request TEXT NOT NULL, first INTEGER NOT NULL,
    rows INTEGER NOT NULL, keys TEXT, variant TEXT NOT NULL, model INTEGER NOT NULL REFERENCES models (id),
    seconds REAL NOT NULL, body TEXT NOT NULL, answers TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS requests_time ON requests (time);
CREATE INDEX IF NOT EXISTS requests_keys ON requests (keys) WHERE keys IS NOT NULL;
CREATE VIEW IF NOT EXISTS predictions AS
SELECT r.time, r.request, r.first + f.key AS row, r.keys ->> f.key AS key, r.variant, r.model, r.seconds,
    f.value AS features, r.answers -> f.key AS answer
FROM requests r JOIN json_each(r.body, '$.rows') f;
CREATE TABLE IF NOT EXISTS outcomes (
    id INTEGER PRIMARY KEY, time REAL NOT NULL, request TEXT, row INTEGER NOT NULL, key TEXT,
    actual TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS outcomes_time ON outcomes (time);
CREATE INDEX IF NOT EXISTS outcomes_request ON outcomes (request, row) WHERE request IS NOT NULL;
CREATE INDEX IF NOT EXISTS outcomes_key ON outcomes (key) WHERE key IS NOT NULL;
PRAGMA user_version = {FORM};
COMMIT;
"""
# Both at one moment: another process may be about to make the file.
MADE_BY = "SELECT user_version, EXISTS (SELECT 1 FROM sqlite_master) FROM pragma_user_version"
REQUEST = (
    "time", "request", "first", "rows", "keys", "variant", "model", "seconds", "body", "answers",
)  # fmt: skip
OUTCOME = ("time", "request", "row", "key", "actual")
# Records a statement.
CHUNK = 1_000
# How much is deleted at once, so that nobody waits long for their turn: records, and rows of requests.
PRUNED, PRUNED_ROWS = 5_000, 50_000
# The oldest of what is too old.
OLD = {
    "requests": f"""
        SELECT id FROM (
            SELECT id, SUM(rows) OVER (ORDER BY time, id) - rows AS before FROM (
                SELECT id, time, rows FROM requests WHERE time < ? ORDER BY time, id LIMIT {PRUNED}
            )
        ) WHERE before < {PRUNED_ROWS}""",
    "outcomes": f"SELECT id FROM outcomes WHERE time < ? ORDER BY time LIMIT {PRUNED}",
}
# How long another process is waited for, in seconds.
PATIENCE = 1.0
DAY = 86_400


class Rows(msgspec.Struct):
    """A body's rows, their values as they were sent."""

    rows: list[dict[str, msgspec.Raw]]


class SQLiteStore:
    """Writes a log to a SQLite file, which is made where there is none."""

    def __init__(self, path: Path, problem: Problem, keep_days: float | None) -> None:
        """Nothing is opened yet."""
        self._path = path
        self._keep_days = keep_days
        self._private = {name for name, column in problem.features.items() if column.private}
        self._keyed = problem.logged_key is not None
        self._database: sqlite3.Connection | None = None
        self._file: tuple[int, int] = (0, 0)
        self._models: dict[ModelName, int] = {}

    def write(self, entries: Sequence[Entry]) -> None:
        """Write all of the rows or none."""
        with self._transaction() as database:
            _insert(database, "requests", REQUEST, (self._record(database, entry) for entry in entries))

    def write_outcomes(self, outcomes: Sequence[Outcomes]) -> None:
        """Write all of the outcomes or none."""
        rows = (
            (together.time, one.request, one.row, one.key, msgspec.json.encode(one.actual).decode())
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
        for table, some in OLD.items():
            with self._connected() as database:
                old = database.execute(f"SELECT 1 FROM {table} WHERE time < ? LIMIT 1", [oldest]).fetchone()
            if old:
                with self._transaction() as database:
                    database.execute(f"DELETE FROM {table} WHERE id IN ({some})", [oldest])

    def close(self) -> None:
        """Let go of the file."""
        if self._database is not None:
            # What is committed is committed; a damaged file may refuse to be closed in order.
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None

    def _record(self, database: sqlite3.Connection, entry: Entry) -> tuple[Any, ...]:
        question = entry.question
        keyed = self._keyed and any(key is not None for key in question.keys)
        keys = msgspec.json.encode(question.keys).decode() if keyed else None
        body = without(question.body, self._private) if self._private else question.body
        return (
            entry.time, entry.request, 0, len(entry), keys, entry.variant, self._model(database, entry.model),
            entry.seconds, body.decode(), entry.answers.decode(),
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
        if not is_made(database):
            database.executescript(SCHEMA)
        self._file = _identity(self._path)
        return database


def is_made(database: sqlite3.Connection) -> bool:
    """Whether a file has the tables of a log.

    Raises:
        sqlite3.DatabaseError: it has those of another form.
    """
    form, made = database.execute(MADE_BY).fetchone()
    if made and form != FORM:
        raise sqlite3.DatabaseError("another version of Millrace wrote it; move it away")
    return bool(made)


def without(body: bytes, names: Iterable[str]) -> bytes:
    """A request's body without some of the features."""
    rows = msgspec.json.decode(body, type=Rows).rows
    for row in rows:
        for name in names:
            row.pop(name, None)
    return msgspec.json.encode(Rows(rows))


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
