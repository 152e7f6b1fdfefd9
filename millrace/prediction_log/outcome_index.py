"""Outcomes beside predictions, in a file that is gone afterwards: there may be more than memory holds."""

import sqlite3
from math import inf
from typing import Any

import msgspec
import pyarrow as pa

from millrace.prediction_log.stores import StoredLog

SCHEMA = """
CREATE TABLE by_row (request TEXT, row INTEGER, time REAL, actual TEXT, matched INTEGER DEFAULT 0,
    PRIMARY KEY (request, row)) WITHOUT ROWID;
CREATE TABLE by_key (key TEXT PRIMARY KEY, time REAL, actual TEXT, matched INTEGER DEFAULT 0) WITHOUT ROWID;
CREATE TABLE batch (position INTEGER PRIMARY KEY, request TEXT, row INTEGER, key TEXT);
"""
LAST_WINS = "DO UPDATE SET time = excluded.time, actual = excluded.actual WHERE excluded.time >= time"
ADD_ROW = f"INSERT INTO by_row (request, row, time, actual) VALUES (?, ?, ?, ?) ON CONFLICT {LAST_WINS}"
ADD_KEY = f"INSERT INTO by_key (key, time, actual) VALUES (?, ?, ?) ON CONFLICT {LAST_WINS}"
MATCH = """
SELECT coalesce(r.actual, k.actual), iif(r.actual IS NULL, k.time, r.time) FROM batch b
LEFT JOIN by_row r ON r.request = b.request AND r.row = b.row
LEFT JOIN by_key k ON k.key = b.key
ORDER BY b.position
"""
MARK = """
UPDATE by_row SET matched = 1 FROM batch b WHERE by_row.request = b.request AND by_row.row = b.row;
UPDATE by_key SET matched = 1 FROM batch b WHERE by_key.key = b.key;
"""
COUNT = """
SELECT count(*), coalesce(sum(matched), 0)
FROM (SELECT matched FROM by_row UNION ALL SELECT matched FROM by_key)
"""


class OutcomeIndex:
    """The last outcome of each row and of each key."""

    def __init__(self) -> None:
        """Empty; SQLite deletes the file of a database without a name itself."""
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(SCHEMA)
        self._received = 0

    def __enter__(self) -> "OutcomeIndex":
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Delete everything."""
        self._database.close()

    def add(self, outcomes: pa.Table) -> None:
        """Take outcomes as a `StoredLog` gives them."""
        rows = outcomes.to_pylist()
        by_row = [
            (row["request"], row["row"], row["time"], row["actual"]) for row in rows if row["key"] is None
        ]
        by_key = [(row["key"], row["time"], row["actual"]) for row in rows if row["key"] is not None]
        self._database.execute("BEGIN")
        self._database.executemany(ADD_ROW, by_row)
        self._database.executemany(ADD_KEY, by_key)
        self._database.execute("COMMIT")
        self._received += len(rows)

    def match(self, table: pa.Table, mark: bool = False) -> list[Any]:
        """The outcome of each of a log's rows, or None; `mark` counts the outcomes as matched."""
        return self.matched(table, mark)[0]

    def matched(self, table: pa.Table, mark: bool) -> tuple[list[Any], list[float | None]]:
        """The same, and when each came, in seconds since 1970."""
        columns = (table.column(name).to_pylist() for name in ("_request", "_row", "_key"))
        self._database.execute("BEGIN")
        self._database.execute("DELETE FROM batch")
        self._database.executemany(
            "INSERT INTO batch (request, row, key) VALUES (?, ?, ?)", zip(*columns, strict=True)
        )
        self._database.execute("COMMIT")
        if mark:
            self._database.executescript(MARK)
        found = self._database.execute(MATCH).fetchall()
        actual = msgspec.json.decode(f"[{','.join(actual or 'null' for actual, _ in found)}]")
        return actual, [time for _, time in found]

    def unknown(self, stored: StoredLog, before: float, size: int) -> int:
        """How many outcomes are of no row in the log, once its rows of before a time have been seen too."""
        if self.counts()[3]:
            for table in stored.rows(-inf, before, size, features=False):
                self.match(table, mark=True)
        return self.counts()[3]

    def counts(self) -> tuple[int, int, int, int]:
        """How many came, were replaced, have been matched, and have not."""
        distinct, matched = self._database.execute(COUNT).fetchone()
        return self._received, self._received - distinct, matched, distinct - matched
