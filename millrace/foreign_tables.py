"""Parquet and Arrow from outside: measured before they are unpacked, checked before they are read.

A few bytes may hold a text ten thousand times, or point out of themselves.
"""

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from millrace.requests import MAX_ROWS, SHOWN, InvalidRequest

if TYPE_CHECKING:
    import pyarrow as pa

# In bytes: what a table may come to, each text counted as often as it stands there.
UNPACKED_LIMIT = 64 * 2**20


def read_parquet(body: bytes) -> "pa.Table":
    """The table in a Parquet file.

    Raises:
        InvalidRequest: it is too large, or has columns that are none of JSON's.
        pyarrow.ArrowException, OSError, UnicodeDecodeError: it is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pa.BufferReader(body))
    about = file.metadata
    check_size(
        about.num_rows, sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
    )
    _check_types(file.schema_arrow)
    # A text that many rows share is read once at first, and so fills no memory.
    leaves = (file.schema.column(position) for position in range(len(file.schema)))
    texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    _check_texts(pq.ParquetFile(pa.BufferReader(body), read_dictionary=texts).read())
    return _plain(file.read())


def read_arrow(body: bytes) -> "pa.Table":
    """The table in an Arrow stream.

    Raises:
        InvalidRequest: it is too large, or has columns that are none of JSON's.
        pyarrow.ArrowException, OSError, UnicodeDecodeError: it is damaged, or compressed.
    """
    import pyarrow as pa

    try:
        compressed = any(map(_is_compressed, pa.ipc.MessageReader.open_stream(body)))
    except struct.error:
        raise pa.ArrowInvalid("the description of its buffers is damaged") from None
    if compressed:
        raise pa.ArrowInvalid("its buffers are compressed, which only those of Parquet may be")
    batches, rows = [], 0
    with pa.ipc.open_stream(body) as reader:
        _check_types(reader.schema)
        for batch in reader:
            rows += batch.num_rows
            check_size(rows, 0)
            batches.append(batch)
        table = pa.Table.from_batches(batches, reader.schema)
    _check_texts(table)
    return _plain(table)


def check_size(rows: int, unpacked: int) -> None:
    """See that so many rows of so many bytes are no more than is taken.

    Raises:
        InvalidRequest: they are.
    """
    if rows > MAX_ROWS:
        raise too_many(rows)
    if unpacked > UNPACKED_LIMIT:
        raise InvalidRequest("The table is too large when it is unpacked; send fewer rows at once.", "table")


def too_many(rows: int) -> InvalidRequest:
    """The refusal of a table with so many rows."""
    return InvalidRequest(f"A table must hold 1 to {MAX_ROWS:,} rows, not {rows:,}.", "rows")


def _check_types(schema: "pa.Schema") -> None:
    """Each column has one value a row, which JSON and CSV can tell."""
    from pyarrow import types

    known = (
        *(types.is_null, types.is_boolean, types.is_integer, types.is_floating, types.is_decimal),
        *(types.is_string, types.is_large_string, types.is_string_view, types.is_timestamp, types.is_date),
    )
    for name, kind in zip(schema.names, schema.types, strict=True):
        one = kind.value_type if types.is_dictionary(kind) else kind
        if not any(is_it(one) for is_it in known):
            about = (
                f"The column '{name[:SHOWN]}' is of the type {str(kind)[:SHOWN]}, which has no place in a row"
            )
            raise InvalidRequest(f"{about}; leave it out.", "type", field=name[:SHOWN])


def _check_texts(table: "pa.Table") -> None:
    """The table is sound, and its texts are not too long, each counted as often as it stands there."""
    # Only then may it be read: its offsets may point anywhere.
    table.validate(full=True)
    check_size(
        table.num_rows, sum(int(_lengths(part).sum()) for column in table.columns for part in column.chunks)
    )


def _lengths(values: "pa.Array") -> NDArray[np.int64]:
    """The bytes of each text [rows]; nothing where there are no texts."""
    import pyarrow.compute as pc
    from pyarrow import types

    if types.is_dictionary(values.type):
        own = np.append(_lengths(values.dictionary), 0)
        # The last is that of a missing value.
        return own[values.indices.cast("int64").fill_null(-1).to_numpy()] if len(own) > 1 else own
    if types.is_string_view(values.type) and len(values):
        # Of the sixteen bytes of each, the first four are the length.
        views = np.frombuffer(values.buffers()[1], np.int32)[::4]
        return views[values.offset : values.offset + len(values)].astype(np.int64)
    if types.is_string(values.type) or types.is_large_string(values.type) or types.is_binary(values.type):
        return np.asarray(pc.binary_length(values).fill_null(0).to_numpy(), dtype=np.int64)
    return np.zeros(0, dtype=np.int64)


def _plain(table: "pa.Table") -> "pa.Table":
    """The table with texts one after the other, not as views: many of pyarrow's functions know none."""
    import pyarrow as pa
    from pyarrow import types

    table.validate(full=True)
    for position, field in enumerate(table.schema):
        column: Any = table.column(position)
        if types.is_dictionary(field.type) and types.is_string_view(field.type.value_type):
            parts = [
                pa.DictionaryArray.from_arrays(part.indices, part.dictionary.cast(pa.string()))
                for part in column.chunks
            ]
            column = pa.chunked_array(parts, pa.dictionary(field.type.index_type, pa.string()))
        elif types.is_string_view(field.type):
            column = column.cast(pa.string())
        else:
            continue
        table = table.set_column(position, field.name, column)
    return table


def _is_compressed(message: "pa.Message") -> bool:
    """Whether a message's buffers are compressed: pyarrow unpacks them before it tells how much that is.

    Its metadata is a flatbuffer, as Arrow's Message.fbs has it.

    Raises:
        struct.error: it is not.
    """
    if message.type not in ("record batch", "dictionary"):
        return False
    data = memoryview(message.metadata)

    def member(table: int, slot: int) -> int:
        """Where a member of a table begins; 0 if it is left out."""
        members = table - int(struct.unpack_from("<i", data, table)[0])
        size, place = struct.unpack_from("<H", data, members)[0], 4 + 2 * slot
        offset = int(struct.unpack_from("<H", data, members + place)[0]) if place < size else 0
        return table + offset if offset else 0

    def pointed(place: int) -> int:
        return place + int(struct.unpack_from("<I", data, place)[0])

    header = pointed(member(pointed(0), 2))
    batch = pointed(member(header, 1)) if message.type == "dictionary" else header
    return member(batch, 3) != 0
