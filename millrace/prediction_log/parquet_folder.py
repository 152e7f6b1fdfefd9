"""A log's Parquet files, in a folder on any file system that fsspec reaches.

A file is written under a name that nobody reads, and then moved: no reader sees half of it. Its name says
the time of its rows: `20260131T235800Z-20260201T000301Z-<id>.parquet`, from the first to after the last.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from millrace.errors import UserError
from millrace.sources.files import S3_PATIENCE, reason

PREDICTIONS = "predictions"
OUTCOMES = "outcomes"
STAMP = "%Y%m%dT%H%M%SZ"
NAME = re.compile(r"(?P<start>\d{8}T\d{6}Z)-(?P<end>\d{8}T\d{6}Z)-(?P<id>\w+)\.parquet")
# So many rows are compressed together, and found or skipped together.
ROW_GROUP = 50_000


class LogFile(NamedTuple):
    """A Parquet file, and the seconds since 1970 of its rows: `start` <= time < `end`."""

    path: str
    start: float
    end: float


class ParquetFolder:
    """Lists, writes and deletes the files of a log."""

    def __init__(self, uri: str) -> None:
        """Nothing is looked at yet.

        Raises:
            UserError: a package is missing that the URI needs, or it is none.
        """
        self.uri = uri
        options: dict[str, Any] = {}
        if uri.startswith(("s3://", "s3a://")):
            options = {"config_kwargs": S3_PATIENCE, "use_listings_cache": False}
        try:
            import fsspec

            self._files, self._path = fsspec.core.url_to_fs(uri, **options)
        except ImportError as error:
            packages = "fsspec and s3fs" if options else "fsspec and the one for this URI"
            raise UserError(
                f"{uri}: a log of Parquet files needs the packages {packages}: {reason(error)}."
            ) from None
        except (ValueError, OSError) as error:
            raise UserError(f"{uri}: is no place for a log: {reason(error)}.") from None

    def list(self, kind: str) -> list[LogFile]:
        """The files of a kind, by the time of their first row."""
        self._files.invalidate_cache()
        try:
            paths = self._files.find(f"{self._path}/{kind}")
        except FileNotFoundError:
            return []
        named = ((path, NAME.fullmatch(path.rpartition("/")[2])) for path in paths)
        found = [LogFile(path, _seconds(m["start"]), _seconds(m["end"])) for path, m in named if m]
        return sorted(found, key=lambda file: (file.start, file.path))

    def add(self, kind: str, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        """Write a file, in the place of one of the same name if there is one."""
        folder = f"{self._path}/{kind}"
        self._files.makedirs(folder, exist_ok=True)
        unfinished = f"{folder}/_{name}.unfinished"
        with (
            self._files.open(unfinished, "wb") as target,
            pq.ParquetWriter(target, schema, compression="zstd") as writer,
        ):
            for table in _grouped(batches, schema):
                writer.write_table(table)
        self._files.mv(unfinished, f"{folder}/{name}")

    def delete(self, file: LogFile) -> None:
        """Delete a file; another process may have done so."""
        with contextlib.suppress(FileNotFoundError):
            self._files.rm_file(file.path)

    @contextlib.contextmanager
    def opened(self, file: LogFile) -> Iterator[pq.ParquetFile | None]:
        """A file to read; None if it is gone."""
        try:
            source = self._files.open(file.path, "rb")
        except FileNotFoundError:
            yield None
            return
        with source, pq.ParquetFile(source) as opened:
            yield opened


def file_name(start: float, last: float, name: str) -> str:
    """The name of the file with rows of these times, in seconds since 1970."""
    first, end = (datetime.fromtimestamp(int(seconds), UTC) for seconds in (start, last))
    return f"{first:{STAMP}}-{end + timedelta(seconds=1):{STAMP}}-{name}.parquet"


def _seconds(stamp: str) -> float:
    return datetime.strptime(stamp, STAMP).replace(tzinfo=UTC).timestamp()


def _grouped(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """The same rows in larger tables: a batch is what came in one flush."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        if rows >= ROW_GROUP:
            yield pa.Table.from_batches(waiting, schema)
            waiting, rows = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting, schema)
