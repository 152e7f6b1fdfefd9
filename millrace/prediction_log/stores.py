"""What a place to keep a log is: one protocol to write, one to read, and the way to both by URI."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from millrace.contract import Problem
from millrace.errors import UserError
from millrace.prediction_log.entries import Entry, Outcomes
from millrace.prediction_log.settings import SQLITE, LogSettings


class NoLog(UserError):  # noqa: N818 - it says what is so
    """There is no prediction log at a URI, which need not be a fault: nobody may have asked yet."""


class Store(Protocol):
    """Where one process writes, from one thread. Everything may raise, and be tried again later."""

    def write(self, entries: Sequence[Entry]) -> None:
        """Write all of the rows or none; they outlive this process."""

    def write_outcomes(self, outcomes: Sequence[Outcomes]) -> None:
        """Write all of the outcomes or none; they outlive this process."""

    def tidy(self, now: float) -> None:
        """Do what is due besides: delete what is too old, finish files. `now` is in seconds since 1970."""

    def close(self) -> None:
        """Finish what is unfinished."""


class StoredLog(Protocol):
    """A log to read, while others may write it. Times are in seconds since 1970."""

    damaged: int
    """How many requests `rows` has left out so far, because they are not whole."""

    def rows(self, since: float, until: float, size: int, features: bool) -> Iterator[pa.Table]:
        """The rows of `since` <= time < `until`, at most `size` at once, those of one time in one order.

        Each table has the log's own columns; with `features` also the contract's, as they were logged, and
        those of the answers. Columns of another contract are missing, too many, or of another type.
        """

    def outcomes(self, size: int) -> Iterator[pa.Table]:
        """All outcomes, at most `size` at once: `time`, `request`, `row`, `key`, and `actual` as JSON."""

    def forget(self, key: str) -> int:
        """Delete the rows of a key with their outcomes, and return how many rows it had."""


def open_store(settings: LogSettings, problem: Problem) -> Store:
    """The store of a log; whether it can be written to shows when it is written to.

    Raises:
        UserError: a package is missing that its URI needs.
    """
    if settings.uri.startswith(SQLITE):
        from millrace.prediction_log.sqlite_store import SQLiteStore

        return SQLiteStore(_path(settings.uri), problem, settings.keep_days)
    from millrace.prediction_log.parquet_store import ParquetStore

    return ParquetStore(settings, problem)


def open_log(uri: str, problem: Problem) -> StoredLog:
    """The log at a URI, to read or to forget from.

    Raises:
        NoLog: there is none.
        UserError: a package is missing that its URI needs.
    """
    if uri.startswith(SQLITE):
        from millrace.prediction_log.sqlite_log import SQLiteLog

        path = _path(uri)
        if not path.is_file():
            raise NoLog(f"{uri}: there is no prediction log.")
        return SQLiteLog(path, problem)
    from millrace.prediction_log.parquet_log import ParquetLog

    return ParquetLog(uri, problem)


def find_log(uri: str, problem: Problem) -> StoredLog | None:
    """The same, or None where there is none."""
    try:
        return open_log(uri, problem)
    except NoLog:
        return None


def _path(uri: str) -> Path:
    return Path(uri.removeprefix(SQLITE))
