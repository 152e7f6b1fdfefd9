"""Parquet, Arrow and Feather: Arrow reads only the wanted columns, and only row groups that may match."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from millrace.errors import UserError
from millrace.sources.files import Place, reason
from millrace.sources.wanted import Found, Wanted

KINDS = {".parquet": "Parquet", ".arrow": "Arrow", ".feather": "Feather"}


def read_file(place: Place, suffix: str, wanted: Wanted) -> Found:
    """Read one file."""
    with readable(place, suffix):
        if place.remote_http:
            return _scan(_in_memory(place.content(), suffix), KINDS[suffix], wanted)
        with place.reading():
            # Arrow's message for a file that is not there speaks of datasets.
            place.filesystem.info(place.path)
        filesystem = arrow_filesystem(place)
        dataset = ds.dataset(place.path, filesystem=filesystem, format=_format(suffix))
        if suffix == ".parquet" and wanted.expression(dataset.schema) is None:
            with pq.ParquetFile(place.path, filesystem=filesystem, pre_buffer=not place.local) as file:
                return _read_whole(file, wanted)
        return _scan(dataset, KINDS[suffix], wanted)


def read_folder(place: Place, paths: list[str], suffix: str, wanted: Wanted) -> Found:
    """Read a folder's files as one table; folders named `column=value` give a column."""
    with readable(place, suffix):
        dataset = ds.dataset(
            paths,
            filesystem=arrow_filesystem(place),
            format=_format(suffix),
            partitioning="hive",
            partition_base_dir=place.path,
        )
        partitions = list(dataset.partitioning.schema.names)
        by = f", partitioned by {', '.join(partitions)}" if partitions else ""
        files = f"{len(paths)} file{'s' if len(paths) > 1 else ''}"
        return _scan(dataset, f"{KINDS[suffix]}: {files}{by}", wanted)


def _scan(dataset: Any, format_: str, wanted: Wanted) -> Found:
    names = dataset.schema.names
    table = dataset.to_table(columns=wanted.choose(names), filter=wanted.expression(dataset.schema))
    return Found(table, names, format_)


def _read_whole(file: pq.ParquetFile, wanted: Wanted) -> Found:
    """All rows, each column in one piece of memory, which a scan of the row groups would not give."""
    names = file.schema_arrow.names
    kept = wanted.choose(names)
    if kept == names:
        return Found(file.read(), names, KINDS[".parquet"])
    # Asked for `a`, it would also read a column `a.b`.
    return Found(file.read(kept).select(kept), names, KINDS[".parquet"])


def _in_memory(content: bytes, suffix: str) -> Any:
    form = ds.ParquetFileFormat() if suffix == ".parquet" else ds.IpcFileFormat()
    fragment = form.make_fragment(pa.BufferReader(content))
    return ds.FileSystemDataset([fragment], fragment.physical_schema, form)


def _format(suffix: str) -> str:
    return "parquet" if suffix == ".parquet" else "ipc"


def arrow_filesystem(place: Place) -> Any:
    """The place's file system as Arrow knows it."""
    from pyarrow import fs

    return fs.LocalFileSystem() if place.local else fs.PyFileSystem(fs.FSSpecHandler(place.filesystem))


@contextmanager
def readable(place: Place, suffix: str) -> Iterator[None]:
    """Turn what Arrow raises into one sentence."""
    try:
        yield
    except UserError:
        raise
    except PermissionError as error:
        raise UserError(f"{place.origin}: cannot be read: {reason(error)}.") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        if "duplicate field names" in str(error):
            raise UserError(f"{place.origin}: two of its columns have one name; rename one.") from None
        kind = KINDS[suffix]
        raise UserError(f"{place.origin}: is not a readable {kind} file: {reason(error)}.") from None
