"""Reads a log in a SQLite file while services write it: a page at a time, so that no reader holds them up."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from millrace.contract import Problem
from millrace.errors import UserError
from millrace.prediction_log.entries import answer_columns
from millrace.prediction_log.frames import OUTCOMES, OWN, array

OWN_VALUES = "p.time, p.request, p.row, p.key, p.variant, m.name, m.version, m.digest, p.seconds"
PAGE = f"""
SELECT p.id, p.time, {OWN_VALUES}, p.features, p.answer
FROM predictions p JOIN models m ON m.id = p.model
WHERE (p.time, p.id) > (?, ?) AND p.time < ? ORDER BY p.time, p.id LIMIT ?
"""
OUTCOME_PAGE = "SELECT id, time, request, row, key, actual FROM outcomes WHERE id > ? ORDER BY id LIMIT ?"
FORGET = """
DELETE FROM outcomes WHERE id IN (
    SELECT o.id FROM predictions p JOIN outcomes o ON o.request = p.request AND o.row = p.row WHERE p.key = ?
)
"""
# How long a process that writes is waited for, in seconds.
PATIENCE = 30.0


class SQLiteLog:
    """A log in a SQLite file."""

    def __init__(self, path: Path, problem: Problem) -> None:
        """The file is there."""
        self._path = path
        self._problem = problem

    def rows(self, since: float, until: float, size: int, features: bool) -> Iterator[pa.Table]:
        """The rows of a time, oldest first; see `StoredLog`."""
        # Infinity would be no time to SQLite's index.
        last: tuple[float, int] = (max(since, 0.0), -1)
        with self._connected() as database:
            while found := database.execute(PAGE, [*last, min(until, 1e300), size]).fetchall():
                last = found[-1][1], found[-1][0]
                columns = list(zip(*found, strict=True))
                # The id, and the time once more.
                table = pa.table(
                    {
                        field.name: pa.array(values, field.type)
                        for field, values in zip(OWN, columns[2:-2], strict=True)
                    }
                )
                yield self._with_features(table, columns[-2], columns[-1]) if features else table

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
            database.execute("PRAGMA secure_delete = ON")
            database.execute("BEGIN IMMEDIATE")
            database.execute(FORGET, [key])
            database.execute("DELETE FROM outcomes WHERE key = ?", [key])
            count = database.execute("DELETE FROM predictions WHERE key = ?", [key]).rowcount
            database.execute("COMMIT")
            # The pages as they were are in the file of the last writes, until that is emptied.
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return count

    def _with_features(self, table: pa.Table, features: Any, answers: Any) -> pa.Table:
        rows = msgspec.json.decode(f"[{','.join(features)}]", type=list[dict[str, Any]])
        found = msgspec.json.decode(f"[{','.join(answers)}]", type=list[dict[str, Any]])
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
                yield database
        except sqlite3.Error as error:
            raise UserError(f"{self._path}: the prediction log cannot be read: {error}.") from None
