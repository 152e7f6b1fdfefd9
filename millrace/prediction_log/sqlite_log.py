"""Reads a log in a SQLite file while services write it: a page at a time, so that no reader holds them up."""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from millrace.contract import Problem
from millrace.errors import UserError
from millrace.prediction_log.entries import answer_columns
from millrace.prediction_log.frames import OUTCOMES, OWN, array
from millrace.prediction_log.sqlite_store import REQUEST, is_made

PAGE = """
SELECT r.id, r.time, r.request, r.first, r.rows, r.keys, r.variant, m.name, m.version, m.digest, r.seconds
{}
FROM requests r JOIN models m ON m.id = r.model
WHERE (r.time, r.id) > (?, ?) AND r.time < ? ORDER BY r.time, r.id
"""
OWN_PAGE, WHOLE_PAGE = PAGE.format(""), PAGE.format(", r.body, r.answers")
OUTCOME_PAGE = "SELECT id, time, request, row, key, actual FROM outcomes WHERE id > ? ORDER BY id LIMIT ?"
OF_KEY = """
SELECT * FROM requests WHERE keys IS NOT NULL AND EXISTS (SELECT 1 FROM json_each(keys) WHERE value = ?)
"""
ADD = f"INSERT INTO requests ({', '.join(REQUEST)}) VALUES (:{', :'.join(REQUEST)})"
# The log's columns that all rows of a request have in common, in the page's order.
BY_REQUEST = ("_time", "_request", "_variant", "_model", "_version", "_digest", "_seconds")
# How long a process that writes is waited for, in seconds.
PATIENCE = 30.0
# Numbers without a fraction are floats, too, as training has them.
Value = float | bool | str | None


class Body(msgspec.Struct):
    """A request's rows, whatever the contract was."""

    rows: list[dict[str, Value]]


class Parts(msgspec.Struct):
    """The same, not looked into."""

    rows: list[msgspec.Raw]


class SQLiteLog:
    """A log in a SQLite file."""

    def __init__(self, path: Path, problem: Problem) -> None:
        """The file is there."""
        self.damaged = 0
        self._path = path
        self._problem = problem

    def rows(self, since: float, until: float, size: int, features: bool) -> Iterator[pa.Table]:
        """The rows of a time, oldest first; see `StoredLog`."""
        # Infinity would be no time to SQLite's index.
        last: tuple[float, int] = (max(since, 0.0), -1)
        with self._connected() as database:
            while found := _page(database, [*last, min(until, 1e300)], size, features):
                last = found[-1][1], found[-1][0]
                for table in self._tables(found, features):
                    for start in range(0, len(table), size):
                        yield table.slice(start, size)

    def outcomes(self, size: int) -> Iterator[pa.Table]:
        """All outcomes; see `StoredLog`."""
        last = -1
        with self._connected() as database:
            while found := database.execute(OUTCOME_PAGE, [last, size]).fetchall():
                last = found[-1][0]
                columns = zip(OUTCOMES, list(zip(*found, strict=True))[1:], strict=True)
                yield pa.table({field.name: pa.array(values, field.type) for field, values in columns})

    def forget(self, key: str) -> int:
        """Delete the rows of a key with their outcomes; their bytes are overwritten."""
        with self._connected() as database:
            database.row_factory = sqlite3.Row
            database.execute("PRAGMA secure_delete = ON")
            database.execute("BEGIN IMMEDIATE")
            rows = []
            for record in database.execute(OF_KEY, [key]).fetchall():
                keys = msgspec.json.decode(record["keys"])
                rows += [(record["request"], record["first"] + row) for row in _places(keys, key)]
                database.execute("DELETE FROM requests WHERE id = ?", [record["id"]])
                database.executemany(ADD, _rest(record, keys, key))
            database.executemany("DELETE FROM outcomes WHERE request = ? AND row = ?", rows)
            database.execute("DELETE FROM outcomes WHERE key = ?", [key])
            database.execute("COMMIT")
            # The pages as they were are in the file of the last writes, until that is emptied.
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return len(rows)

    def _tables(self, found: list[tuple[Any, ...]], features: bool) -> Iterator[pa.Table]:
        """A table of the requests; several, where some are damaged and left out."""
        try:
            yield self._table(found, features)
        except (msgspec.DecodeError, pa.ArrowInvalid):
            if len(found) == 1:
                self.damaged += 1
                return
            middle = len(found) // 2
            yield from self._tables(found[:middle], features)
            yield from self._tables(found[middle:], features)

    def _table(self, found: list[tuple[Any, ...]], features: bool) -> pa.Table:
        """A row for each of the requests' rows."""
        _, times, requests, firsts, counts, keys, *others = zip(*found, strict=True)
        row = [first + row for first, count in zip(firsts, counts, strict=True) for row in range(count)]
        key = [
            name
            for names, count in zip(keys, counts, strict=True)
            for name in (msgspec.json.decode(names) if names else [None] * count)
        ]
        request = np.repeat(np.arange(len(found)), counts)
        by_request = dict(zip(BY_REQUEST, (times, requests, *others), strict=False))
        table = pa.table(
            {
                field.name: pa.array(by_request[field.name], field.type).take(request)
                if field.name in by_request
                else pa.array(row if field.name == "_row" else key, field.type)
                for field in OWN
            }
        )
        return self._with_features(table, others[-2], others[-1]) if features else table

    def _with_features(self, table: pa.Table, bodies: Sequence[str], answers: Sequence[str]) -> pa.Table:
        rows = [row for body in _decoded(bodies, list[Body]) for row in body.rows]
        found = list(chain.from_iterable(_decoded(answers, list[list[dict[str, Any]]])))
        columns = {name: [row.get(name) for row in rows] for name in self._problem.features}
        for name, values in (columns | answer_columns(found, self._problem)).items():
            table = table.append_column(name, array(values))
        return table

    @contextlib.contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            with contextlib.closing(
                sqlite3.connect(self._path, timeout=PATIENCE, isolation_level=None)
            ) as database:
                is_made(database)
                yield database
        except sqlite3.Error as error:
            raise UserError(f"{self._path}: the prediction log cannot be read: {error}.") from None


def _page(
    database: sqlite3.Connection, places: list[Any], size: int, features: bool
) -> list[tuple[Any, ...]]:
    """The next requests that have `size` rows together, or a few more."""
    found, rows = [], 0
    with contextlib.closing(database.execute(WHOLE_PAGE if features else OWN_PAGE, places)) as cursor:
        for record in cursor:
            found.append(record)
            rows += record[4]
            if rows >= size:
                break
    return found


def _decoded(texts: Sequence[str], kind: Any) -> Any:
    """Texts that are JSON; as one list they take a fraction of the time."""
    return msgspec.json.decode(f"[{','.join(texts)}]", type=kind)


def _places(keys: list[str | None], key: str) -> list[int]:
    return [row for row, name in enumerate(keys) if name == key]


def _rest(record: sqlite3.Row, keys: list[str | None], key: str) -> Iterator[dict[str, Any]]:
    """What stays of a record without the rows of a key: a record for those between two of them."""
    rows = msgspec.json.decode(record["body"], type=Parts).rows
    answers = msgspec.json.decode(record["answers"], type=list[msgspec.Raw])
    for gone, run in groupby(range(len(rows)), key=lambda row: keys[row] == key):
        if not gone:
            some = list(run)
            part = slice(some[0], some[-1] + 1)
            yield {
                **dict(record),
                "first": record["first"] + part.start,
                "rows": len(some),
                "keys": _json(keys[part]),
                "body": _json(Parts(rows[part])),
                "answers": _json(answers[part]),
            }


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
