"""Reads a log of Parquet files, whether services write it or not."""

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from millrace.contract import Problem
from millrace.errors import UserError
from millrace.prediction_log.frames import OWN
from millrace.prediction_log.parquet_folder import OUTCOMES, PREDICTIONS, LogFile, ParquetFolder
from millrace.prediction_log.stores import NoLog
from millrace.sources.files import reason

Picked = Callable[[pa.RecordBatch], pa.BooleanArray]


class ParquetLog:
    """A log of Parquet files."""

    def __init__(self, uri: str, problem: Problem) -> None:
        """Raises NoLog where there is none."""
        # A file is read as a whole or not at all.
        self.damaged = 0
        self._problem = problem
        self._folder = ParquetFolder(uri)
        if not self._list(PREDICTIONS) and not self._list(OUTCOMES):
            raise NoLog(f"{uri}: there is no prediction log, or no file of it has been finished yet.")

    def rows(self, since: float, until: float, size: int, features: bool) -> Iterator[pa.Table]:
        """The rows of a time, file by file; see `StoredLog`."""
        columns = None if features else [field.name for field in OWN]
        for file in self._list(PREDICTIONS):
            if file.end > since and file.start < until:
                for table in self._batches(file, size, columns):
                    time = table.column("_time")
                    chosen = table.filter(pc.and_(pc.greater_equal(time, since), pc.less(time, until)))
                    if chosen.num_rows:
                        yield chosen

    def outcomes(self, size: int) -> Iterator[pa.Table]:
        """All outcomes; see `StoredLog`."""
        for file in self._list(OUTCOMES):
            yield from self._batches(file, size, None)

    def forget(self, key: str) -> int:
        """Write the files that know the key anew without it."""
        forgotten: set[tuple[Any, Any]] = set()

        def is_key(batch: pa.RecordBatch) -> Any:
            return pc.fill_null(pc.equal(batch.column("_key"), key), False)

        def is_outcome(batch: pa.RecordBatch) -> Any:
            of_key = pc.fill_null(pc.equal(batch.column("key"), key), False)
            rows = zip(batch.column("request").to_pylist(), batch.column("row").to_pylist(), strict=True)
            return pc.or_(of_key, pa.array([row in forgotten for row in rows], pa.bool_()))

        count = 0
        for file in self._list(PREDICTIONS):
            for table in self._batches(file, 20_000, ["_request", "_row", "_key"]):
                found = table.filter(is_key(table))
                count += found.num_rows
                forgotten |= set(
                    zip(*(found.column(n).to_pylist() for n in ("_request", "_row")), strict=True)
                )
        for kind, picked in ((PREDICTIONS, is_key), (OUTCOMES, is_outcome)):
            for file in self._list(kind):
                self._without(kind, file, picked)
        return count

    def _without(self, kind: str, file: LogFile, picked: Picked) -> None:
        """Write a file anew without some of its rows, or delete it if none is left."""
        with self._folder.opened(file) as opened:
            if opened is None:
                return
            counts = [(b.num_rows, pc.sum(picked(b)).as_py() or 0) for b in opened.iter_batches()]
            rows, gone = (sum(column) for column in zip(*counts, strict=True))
            if rows == gone:
                self._folder.delete(file)
            elif gone:
                kept = (batch.filter(pc.invert(picked(batch))) for batch in opened.iter_batches())
                self._folder.add(kind, file.path.rpartition("/")[2], opened.schema_arrow, kept)

    def _batches(self, file: LogFile, size: int, columns: list[str] | None) -> Iterator[pa.Table]:
        try:
            with self._folder.opened(file) as opened:
                for batch in opened.iter_batches(batch_size=size, columns=columns) if opened else ():
                    yield pa.Table.from_batches([batch])
        except FileNotFoundError:
            # It was old enough to be deleted meanwhile.
            return
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{file.path}: the prediction log cannot be read: {reason(error)}.") from None

    def _list(self, kind: str) -> list[LogFile]:
        try:
            return self._folder.list(kind)
        except Exception as error:
            raise UserError(
                f"{self._folder.uri}: the prediction log cannot be read: {reason(error)}."
            ) from None
