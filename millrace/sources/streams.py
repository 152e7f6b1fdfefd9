"""Sources read a few rows at a time: the table of a batch job need not fit into memory.

Parquet, Arrow and large CSV files are read in batches, of Parquet and Arrow only the wanted columns. All else
is read whole by `millrace.sources.read`, a file at a time, and cut. The same file always gives the same
batches, in the same order.
"""

from __future__ import annotations

import hashlib
import lzma
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from glob import has_magic
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from millrace.errors import UserError
from millrace.sources import Source, columnar, delimited, files, read
from millrace.sources.credentials import Credentials, SecretReader
from millrace.sources.files import COMPRESSED, Place, suffix_of
from millrace.sources.text import MAGIC
from millrace.sources.wanted import Wanted

if TYPE_CHECKING:
    from millrace.contract import Column

# Text up to so many bytes is read whole, as training reads it; a compressed file may be ten times as long.
WHOLE, WHOLE_COMPRESSED = 32 * 2**20, 3 * 2**20
# Of CSV, parsed at once; a row must fit into it.
BLOCK = 4 * 2**20


class Batch(NamedTuple):
    """Rows of a part; what share of the part's bytes or rows has been read with them, more or less.

    `schema` is that of the whole file, types by name, also of columns that were not wanted.
    """

    table: pa.Table
    share: float
    schema: dict[str, str]


@dataclass(frozen=True)
class Part:
    """A file of a source, or the whole of a source that is no file.

    `name` is what messages call it. `identity` changes with the content. `size` is in bytes, or 1.
    `place` is where the file is. `read` gives its rows, so many at once; the last are fewer.
    """

    name: str
    identity: str
    size: int
    place: Place | None
    read: Callable[[int], Iterator[Batch]]


def find_parts(
    source: Source | str,
    cache: Path,
    columns: Mapping[str, Column],
    every: bool = False,
    read_secret: SecretReader | None = None,
) -> list[Part]:
    """The parts of a source in a fixed order: one, or the files of a folder or of a pattern such as a/*.csv.

    Only `columns` are read, and with `every` all others, too. If one is missing or there twice, all are, so
    that whoever checks the names can say what there is. Folders named `column=value` give a column of text.

    Raises:
        UserError: nothing is there. So does reading a part that is not what its name says.
    """
    source = Source.model_validate(source) if isinstance(source, str) else source
    credentials = Credentials(read_secret)
    uri = credentials.fill(source.uri or "")
    known = source.repo is None and not uri.startswith(("sample://", "sklearn://"))
    if not (known and files.is_file_uri(uri)):
        return [_whole(source, cache, columns, every, read_secret)]
    try:
        place, sheet = files.find(uri, credentials.fill(source.endpoint or ""), source)
        if sheet or source.encoding:
            return [_whole(source, cache, columns, every, read_secret)]
        wanted = Wanted(columns, source.where, source.origin, every)
        with place.reading():
            return [_part(found, hive, wanted, credentials) for found, hive in _files(place)]
    except UserError as error:
        raise UserError(credentials.hide(str(error))) from None


def find_size(
    source: Source, columns: Mapping[str, Column], enough: int, read_secret: SecretReader | None = None
) -> int:
    """The bytes of all cells of `columns` at eight a cell, counted until there are `enough`.

    As far as files tell without being read: of text its own bytes, and ten times those of compressed text.
    0 of what is no file.

    Raises:
        UserError: nothing is there, or it is not what its name says.
    """
    credentials = Credentials(read_secret)
    uri = credentials.fill(source.uri or "")
    if source.repo is not None or not files.is_file_uri(uri) or uri.startswith(("sample://", "sklearn://")):
        return 0
    wanted, size = Wanted(columns, source.where, source.origin), 0
    try:
        place, _ = files.find(uri, credentials.fill(source.endpoint or ""), source)
        with place.reading():
            for found, _ in _files(place):
                size += 0 if found.remote_http else _cells(found, wanted)
                if size >= enough:
                    break
    except UserError as error:
        raise UserError(credentials.hide(str(error))) from None
    return size


def _cells(place: Place, wanted: Wanted) -> int:
    """The bytes of a file's wanted cells, as `find_size` counts them."""
    suffix = suffix_of(place.path)
    if suffix in columnar.KINDS:
        with columnar.readable(place, suffix):
            filesystem = columnar.arrow_filesystem(place)
            if suffix == ".parquet":
                with pq.ParquetFile(place.path, filesystem=filesystem) as file:
                    names, rows = file.schema_arrow.names, int(file.metadata.num_rows)
            else:
                dataset = ds.dataset(place.path, filesystem=filesystem, format="ipc")
                names, rows = dataset.schema.names, int(dataset.count_rows())
            return 8 * rows * len(wanted.choose(names))
    size = int(place.filesystem.info(place.path).get("size") or 0)
    return 10 * size if place.path.lower().endswith(COMPRESSED) else size


def _whole(
    source: Source,
    cache: Path,
    columns: Mapping[str, Column],
    every: bool,
    read_secret: SecretReader | None,
) -> Part:
    """A source that only its content tells from another."""
    raw = read(source, cache, None if every else columns, read_secret)
    sink = hashlib.sha256()
    for batch in raw.table.combine_chunks().to_batches():
        sink.update(batch.serialize())
    schema = _types(raw.table.schema)

    def cut(size: int) -> Iterator[Batch]:
        return _cut(raw.table, schema, size)

    return Part(source.origin, sink.hexdigest(), 1, None, cut)


def _files(place: Place) -> list[tuple[Place, dict[str, str]]]:
    """The files that a place stands for, each with the columns that its folders' names give."""
    filesystem = place.filesystem
    if place.remote_http:
        return [(place, {})]
    if filesystem.isdir(place.path):
        base, paths = place.path.rstrip("/"), sorted(filesystem.find(place.path))
    elif has_magic(place.path) and not filesystem.exists(place.path):
        base, paths = (
            place.path[: _magic_at(place.path)].rpartition("/")[0],
            sorted(filesystem.glob(place.path)),
        )
    else:
        return [(place, {})]
    found = []
    for path in paths:
        inside = path.removeprefix(base).strip("/").split("/")
        hidden = any(name.startswith(("_", ".")) for name in inside)
        if not hidden and suffix_of(path) in (*files.FORMATS, ".zip"):
            name = f"{place.origin.rstrip('/')}: {'/'.join(inside)}"
            named = (folder.partition("=") for folder in inside[:-1])
            found.append((Place(filesystem, path, name), {key: value for key, sign, value in named if sign}))
    if not found:
        known = f"{', '.join(files.FORMATS[:-1])} or {files.FORMATS[-1]}"
        raise UserError(f"{place.origin}: there is no {known} file.")
    return found


def _magic_at(path: str) -> int:
    return min(path.index(sign) for sign in "*?[" if sign in path)


def _part(place: Place, hive: dict[str, str], wanted: Wanted, credentials: Credentials) -> Part:
    size = 1 if place.remote_http else int(place.filesystem.info(place.path).get("size") or 0)
    if place.remote_http:
        # Of a web page nothing is known but what it says.
        identity = hashlib.sha256(place.content()).hexdigest()
    else:
        identity = str(place.filesystem.ukey(place.path))
    own = {name: column for name, column in (wanted.columns or {}).items() if name not in hive}
    inside = replace(wanted, columns=own, origin=place.origin)

    def batches(rows: int) -> Iterator[Batch]:
        try:
            with place.reading():
                for batch in _even(_read(place, inside, size, rows), rows):
                    yield _with_folders(batch, hive)
        except UserError as error:
            raise UserError(credentials.hide(str(error))) from None

    return Part(place.origin, identity, max(size, 1), place, batches)


def _with_folders(batch: Batch, hive: dict[str, str]) -> Batch:
    table, schema = batch.table, dict(batch.schema)
    for name, value in hive.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.repeat(value, table.num_rows))
            schema[name] = "string"
    return Batch(table, batch.share, schema)


def _read(place: Place, wanted: Wanted, size: int, rows: int) -> Iterator[Batch]:
    suffix = suffix_of(place.path)
    if wanted.where or place.remote_http:
        return _cut_file(place, wanted, rows)
    if suffix in columnar.KINDS:
        return _parquet(place, wanted, rows) if suffix == ".parquet" else _arrow(place, suffix, wanted, rows)
    packed = place.path.lower().endswith(COMPRESSED)
    if suffix in files.TEXT and size > (WHOLE_COMPRESSED if packed else WHOLE):
        return _text(place, wanted, size)
    return _cut_file(place, wanted, rows)


def _cut_file(place: Place, wanted: Wanted, rows: int) -> Iterator[Batch]:
    table = files.read_place(place, "", None, wanted).table
    return _cut(table, _types(table.schema), rows)


def _cut(table: pa.Table, schema: dict[str, str], rows: int) -> Iterator[Batch]:
    for start in range(0, table.num_rows, rows):
        part = table.slice(start, rows)
        yield Batch(part, (start + part.num_rows) / table.num_rows, schema)


def _types(schema: pa.Schema) -> dict[str, str]:
    return {field.name: str(field.type) for field in schema}


def _parquet(place: Place, wanted: Wanted, rows: int) -> Iterator[Batch]:
    with columnar.readable(place, ".parquet"):
        filesystem = columnar.arrow_filesystem(place)
        with pq.ParquetFile(place.path, filesystem=filesystem, pre_buffer=not place.local) as file:
            names, schema = file.schema_arrow.names, _types(file.schema_arrow)
            kept, done = wanted.choose(names), 0
            for batch in file.iter_batches(rows, columns=kept):
                done += batch.num_rows
                # Asked for `a`, it also reads a column `a.b`.
                yield Batch(pa.table(batch).select(kept), done / file.metadata.num_rows, schema)


def _arrow(place: Place, suffix: str, wanted: Wanted, rows: int) -> Iterator[Batch]:
    with columnar.readable(place, suffix):
        dataset = ds.dataset(place.path, filesystem=columnar.arrow_filesystem(place), format="ipc")
        schema, kept = _types(dataset.schema), wanted.choose(dataset.schema.names)
        count, done = dataset.count_rows(), 0
        scanned = dataset.to_batches(columns=kept, batch_size=rows, batch_readahead=2, fragment_readahead=1)
        for batch in scanned:
            done += batch.num_rows
            yield Batch(pa.table(batch), done / max(count, 1), schema)


def _text(place: Place, wanted: Wanted, size: int) -> Iterator[Batch]:
    """A large CSV file in UTF-8; if no commas part its cells, it is looked through for decimal ones first."""
    with _plain(place) as (file, _):
        head = file.read(delimited.SAMPLE)
    delimiter = delimited.find_delimiter(head, wanted)
    converted: list[str] = []
    if delimiter != ",":
        commas, points = set(), set()
        for table, _ in _parsed(place, delimiter, wanted):
            for name in _numeric(table, wanted):
                commas |= {name} if name not in commas and delimited.has_commas(table[name]) else set()
                points |= {name} if name not in points and delimited.has_points(table[name]) else set()
        converted = sorted(commas - points)
    for table, read_to in _parsed(place, delimiter, wanted):
        schema = _types(table.schema)
        for name in converted:
            position = table.column_names.index(name)
            table = table.set_column(position, name, delimited.with_points(table.column(position)))
        yield Batch(table, min(read_to / size, 1.0), schema)


def _numeric(table: pa.Table, wanted: Wanted) -> list[str]:
    from millrace.contract import NUMERIC

    columns = wanted.columns or {}
    return [name for name in table.column_names if name in columns and columns[name].type in NUMERIC]


def _parsed(place: Place, delimiter: str, wanted: Wanted) -> Iterator[tuple[pa.Table, int]]:
    """Blocks of the file, every cell as text, and how many bytes of it have been read."""
    from pyarrow import csv

    layout = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    blocks = csv.ReadOptions(block_size=BLOCK, use_threads=False)
    try:
        with _plain(place) as (file, _):
            names = csv.open_csv(file, blocks, layout).schema.names
        kept = wanted.choose(names)
        # To Arrow, a name that is there twice is one column: whoever checks the names is to see both.
        only = kept if len(set(names)) == len(names) else None
        types = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), include_columns=only)
        with _plain(place) as (file, raw):
            for batch in csv.open_csv(file, blocks, layout, types):
                yield pa.table(batch), raw.tell()
    except pa.ArrowInvalid as error:
        utf8 = "; save it as UTF-8" if "UTF8" in str(error) else ""
        message = str(error).splitlines()[0].removeprefix("CSV parse error: ").rstrip(".")
        raise UserError(f"{place.origin}: is not a well-formed CSV file: {message}{utf8}.") from None


@contextmanager
def _plain(place: Place) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """The file's text as a stream, and the stream of its bytes below that."""
    with place.filesystem.open(place.path, "rb") as raw:
        head = raw.read(8)
        raw.seek(0)
        method = next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)
        if method == "zip":
            raise UserError(f"{place.origin}: a zip file as large as this is not read; unpack it first.")
        if method == "xz":
            opened: Any = lzma.LZMAFile(raw)  # noqa: SIM115 - it is closed below
        elif method:
            opened = pa.CompressedInputStream(raw, {"bzip2": "bz2"}.get(method, method))
        else:
            opened = raw
        with opened:
            yield opened, raw


def _even(batches: Iterable[Batch], rows: int) -> Iterator[Batch]:
    """The same rows in batches of `rows`, so that nothing depends on how a file was cut."""
    waiting: list[pa.Table] = []
    count, last = 0, None
    for last in batches:
        if not waiting and last.table.num_rows == rows:
            yield last
            continue
        waiting.append(last.table)
        count += last.table.num_rows
        while count >= rows:
            table = pa.concat_tables(waiting)
            yield Batch(table.slice(0, rows).combine_chunks(), last.share, last.schema)
            waiting, count = [table.slice(rows)], count - rows
    if count and last is not None:
        yield Batch(pa.concat_tables(waiting).combine_chunks(), 1.0, last.schema)
