"""A log in Parquet files: rows are kept in a spool on the local disk until they make a file."""

import hashlib
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from millrace.contract import ColumnType, Problem
from millrace.prediction_log.entries import Entry, Outcomes, answer_columns, names_class
from millrace.prediction_log.frames import OUTCOMES as OUTCOME_FIELDS
from millrace.prediction_log.frames import OWN
from millrace.prediction_log.parquet_folder import OUTCOMES, PREDICTIONS, ParquetFolder, file_name
from millrace.prediction_log.settings import LogSettings
from millrace.prediction_log.spool import ENDING, Spool
from millrace.requests import RequestReader

TYPES: dict[ColumnType, pa.DataType] = {
    "number": pa.float64(),
    "integer": pa.float64(),
    "category": pa.string(),
    "boolean": pa.bool_(),
    "datetime": pa.timestamp("us"),
    "id": pa.string(),
}
# How often files that are too old are looked for, in seconds.
PRUNED_EVERY = 60
DAY = 86_400


class ParquetStore:
    """Writes a log as Parquet files."""

    def __init__(self, settings: LogSettings, problem: Problem) -> None:
        """Nothing is written yet.

        Raises:
            UserError: a package is missing that the URI needs.
        """
        self._settings = settings
        self._problem = problem
        self._folder = ParquetFolder(settings.uri)
        self._spool_folder = settings.spool or spool_folder(settings.uri)
        self._reader = RequestReader(problem)
        self._schemas = {PREDICTIONS: _schema(problem), OUTCOMES: pa.schema(OUTCOME_FIELDS)}
        self._spools: dict[str, Spool] = {}
        self._recovered = False
        self._prune_at = 0.0

    def write(self, entries: Sequence[Entry]) -> None:
        """Write all of the rows or none to the spool."""
        self._append(PREDICTIONS, self._batch(entries))

    def write_outcomes(self, outcomes: Sequence[Outcomes]) -> None:
        """Write all of the outcomes or none to the spool."""
        rows = [
            {
                "time": together.time,
                "request": one.request,
                "row": one.row,
                "key": one.key,
                "actual": msgspec.json.encode(one.actual).decode(),
            }
            for together in outcomes
            for one in together.rows
        ]
        self._append(OUTCOMES, pa.RecordBatch.from_pylist(rows, schema=self._schemas[OUTCOMES]))

    def tidy(self, now: float) -> None:
        """Make files of what has been spooled for long enough, and delete those that are too old."""
        if not self._recovered:
            self._recover()
        for kind, spool in list(self._spools.items()):
            if spool.age >= self._settings.rotate_seconds or spool.rows >= self._settings.rotate_rows:
                self._publish(kind)
        if self._settings.keep_days is not None and time.monotonic() >= self._prune_at:
            oldest = now - DAY * self._settings.keep_days
            for kind in (PREDICTIONS, OUTCOMES):
                for file in self._folder.list(kind):
                    if file.end <= oldest:
                        self._folder.delete(file)
            self._prune_at = time.monotonic() + PRUNED_EVERY

    def close(self) -> None:
        """Make files of all that is spooled."""
        for kind in list(self._spools):
            self._publish(kind)

    def _append(self, kind: str, batch: pa.RecordBatch) -> None:
        spool = self._spools.get(kind)
        # While no file can be made of it, a spool grows no further than this.
        if spool is not None and (spool.rows >= self._settings.rotate_rows or not spool.there):
            self._publish(kind)
            spool = None
        if spool is None:
            spool = self._spools[kind] = Spool.create(self._spool_folder, kind, self._schemas[kind])
        spool.append(batch)

    def _publish(self, kind: str) -> None:
        _make_file(self._folder, self._spools[kind])
        self._spools.pop(kind).remove()

    def _recover(self) -> None:
        """Make files of what processes that have died had spooled."""
        for path in sorted(self._spool_folder.glob(f"*{ENDING}")):
            spool = Spool.take_over(path)
            if spool is not None:
                _make_file(self._folder, spool)
                spool.remove()
        self._recovered = True

    def _batch(self, entries: Sequence[Entry]) -> pa.RecordBatch:
        whose = [
            (entry.time, entry.request, row, key, entry.variant, *entry.model, entry.seconds)
            for entry in entries
            for row, key in enumerate(entry.question.keys)
        ]
        own = {field.name: values for field, values in zip(OWN, zip(*whose, strict=True), strict=True)}
        if self._problem.logged_key is None:
            del own["_key"]
        features = self._reader.columns(entry.question.body for entry in entries)
        answers = [answer for entry in entries for answer in msgspec.json.decode(entry.answers)]
        columns: dict[str, Any] = own | features | answer_columns(answers, self._problem)
        nothing = [None] * len(whose)
        schema = self._schemas[PREDICTIONS]
        arrays = [pa.array(columns.get(field.name, nothing), field.type) for field in schema]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)


def spool_folder(uri: str) -> Path:
    """Where a log is spooled unless its settings say so: in its folder, or in that for temporary files."""
    if "://" not in uri:
        return Path(uri) / "_spool"
    name = hashlib.sha256(uri.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / "millrace-spool" / name


def _schema(problem: Problem) -> pa.Schema:
    features = [
        pa.field(name, TYPES[column.type]) for name, column in problem.features.items() if not column.private
    ]
    answers = [
        pa.field(name, pa.string() if names_class(name, problem) else pa.float64())
        for name in answer_columns([], problem)
    ]
    return pa.schema([*OWN, *features, *answers])


def _make_file(folder: ParquetFolder, spool: Spool) -> None:
    """The same spool makes the same file, so one that was made before a crash is made again, not twice."""
    time_column = "_time" if spool.kind == PREDICTIONS else "time"
    times = [pc.min_max(batch.column(time_column)).as_py() for batch in spool.batches()]
    if times:
        start, last = min(time["min"] for time in times), max(time["max"] for time in times)
        folder.add(spool.kind, file_name(start, last, spool.id), spool.schema, spool.batches())
