"""Digests of tables and rows: what a run was trained on, and which rows were held out.

They depend on names, types and values alone: not on the index, on how a table lies in memory, on how a
file was cut into row groups, nor on the version of a library.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from millrace.threads import as_they_come, in_threads

# Rows at a time: few enough that a block stays in the processor's cache from one operation to the next.
BLOCK = 2**16
# Where a few operations are enough: so many that threads seldom meet at Python's lock.
LONG_BLOCK = 2**20
FIRST_ROWS, TELLING_COLUMNS = 1000, 3
GOLDEN = 0x9E3779B97F4A7C15
FACTOR = np.uint64(0xBF58476D1CE4E5B9)
HALF = np.uint64(32)
NULL_HASH = np.uint64(2**64 - 1)
# Text is hashed eight bytes at a time, a column at once; longer text one by one.
LONG_TEXT = 512
# The first n bytes of a little-endian word.
FIRST_BYTES = np.array([2 ** (8 * n) - 1 for n in range(9)], dtype=np.uint64)

Positions: TypeAlias = NDArray[np.int64]
Word = TypeVar("Word", np.uint64, np.uint32)


def table_digest(table: pd.DataFrame) -> str:
    """sha256 of a table's names, types and row digests."""
    digest = TableDigest()
    digest.add(table)
    return digest.hexdigest()


class TableDigest:
    """The digest of a table that comes some rows at a time: that of all of them in one."""

    def __init__(self) -> None:
        self._digest: hashlib._Hash | None = None

    def add(self, table: pd.DataFrame) -> None:
        """The next rows, with the names and types of those before them."""
        if self._digest is None:
            kinds = [f"{name}\0{_kind(table[name])}\0" for name in table.columns]
            self._digest = hashlib.sha256("".join(kinds).encode())
        for block in as_they_come(_digester(table), range(0, len(table), BLOCK)):
            self._digest.update(block.data)

    def hexdigest(self) -> str:
        """The digest of what has been added."""
        assert self._digest is not None, "a table has names"
        return self._digest.hexdigest()


def row_digests(table: pd.DataFrame) -> NDArray[np.uint64]:
    """A 64-bit hash a row, from its values alone: [rows].

    Each value is folded into the hash of those before it, in the order of the columns' names. Equal rows
    have equal hashes; to draw rows by them, `mix` them first.
    """
    return _into(np.empty(len(table), dtype=np.uint64), table)


def half_digests(table: pd.DataFrame) -> NDArray[np.uint32]:
    """The lower half of each row's digest: all but as telling, and quicker to sort: [rows]."""
    return _into(np.empty(len(table), dtype=np.uint32), table)


def _into(digests: NDArray[Word], table: pd.DataFrame) -> NDArray[Word]:
    """Fill an array with the rows' digests, or as much of each as it holds."""
    digest = _digester(table)
    # In one thread: most operations are so short that two threads would mostly wait for Python's lock.
    for start in range(0, len(table), BLOCK):
        digests[start : start + BLOCK] = digest(start)
    return digests


def _digester(table: pd.DataFrame) -> Callable[[int], NDArray[np.uint64]]:
    """What digests a block of rows, from a row on."""
    columns = [_cells(table[name]) for name in sorted(table.columns)]

    def digest(start: int) -> NDArray[np.uint64]:
        # Made once a block: to allocate would take longer than to compute.
        block, spare = np.empty((2, min(BLOCK, len(table) - start)), dtype=np.uint64)
        so_far: NDArray[np.uint64] | np.uint64 = np.uint64(GOLDEN)
        for cells in columns:
            part = cells[start : start + BLOCK]
            values = _text_hashes(part) if isinstance(part, pa.ChunkedArray) else _bits(part, spare)
            _fold(so_far, values, block, spare)
            so_far = block
        return block

    return digest


def shared(digests: NDArray[np.uint32]) -> Positions:
    """The positions of the digests that are there more than once, rising."""
    in_order = np.sort(digests)
    # By their first bits; so small a table stays in the processor's cache.
    seen = np.zeros(2**22, dtype=np.bool_)
    dropped = np.uint32(10)

    def mark(start: int) -> None:
        block = in_order[start : start + LONG_BLOCK + 1]
        seen[block[np.flatnonzero(block[1:] == block[:-1])] >> dropped] = True

    def find(start: int) -> Positions:
        first_bits = digests[start : start + LONG_BLOCK] >> dropped
        # None is out of bounds; not to check that takes half the time.
        return start + np.flatnonzero(seen.take(first_bits, mode="wrap"))

    starts = range(0, len(digests), LONG_BLOCK)
    in_threads(mark, starts)
    suspects = np.concatenate([np.empty(0, dtype=np.int64), *in_threads(find, starts)])
    really: NDArray[np.bool_] = pd.Series(digests[suspects]).duplicated(keep=False).to_numpy()
    return suspects[really]


def alike(table: pd.DataFrame) -> Positions:
    """The positions of all rows that may equal another one, rising; few others."""
    # The few columns that differ most tell nearly all rows apart, at a fraction of the cost.
    telling = table.head(FIRST_ROWS).nunique().nlargest(TELLING_COLUMNS).index
    suspects = shared(half_digests(pd.DataFrame({name: table[name] for name in telling}, copy=False)))
    return suspects[shared(half_digests(take(table, suspects)))]


def repeats(table: pd.DataFrame, rows: Positions, keep: Literal["first", False] = "first") -> Positions:
    """Those of `rows` whose values an earlier one of them has too, or with `keep=False` any other one."""
    repeated: NDArray[np.bool_] = take(table, rows).duplicated(keep=keep).to_numpy()
    return rows[repeated]


def take(table: pd.DataFrame, rows: Positions | NDArray[np.bool_]) -> pd.DataFrame:
    """The rows at these positions, or where it is true, with an index of their own."""
    names = list(table.columns)
    mask = pa.array(rows) if rows.dtype == np.bool_ else None

    def choose(name: str) -> Any:
        values = table[name].values
        if mask is None or values.dtype != np.float64:
            return values[rows]
        # Arrow needs half the time for most rows of many, and its memory may be written to.
        found = pa.array(values).filter(mask)
        return np.frombuffer(found.buffers()[1], np.float64, len(found)) if len(found) else np.empty(0)

    columns = in_threads(choose, names)
    return pd.DataFrame(dict(zip(names, columns, strict=True)), copy=False)


def mix(values: NDArray[np.uint64], seed: int = 0) -> NDArray[np.uint64]:
    """Scramble 64-bit values, differently for each seed.

    The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014, doi:10.1145/2714064.2660195).
    """
    with np.errstate(over="ignore"):
        z = values + np.uint64((seed + 1) * GOLDEN % 2**64)
        z = (z ^ (z >> np.uint64(30))) * FACTOR
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)), dtype=np.uint64)


def file_digest(path: Path) -> str:
    """sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cells(column: "pd.Series[Any]") -> NDArray[Any] | pa.ChunkedArray:
    """A column as float64, int64 or text, without a copy where it can be."""
    kind = column.dtype
    if isinstance(kind, pd.BooleanDtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    if _kind(column) == "text":
        return _text(column)
    if kind.kind == "M":
        return column.to_numpy(dtype="datetime64[us]").view(np.int64)
    return column.to_numpy(dtype=np.float64 if kind.kind == "f" else np.int64)


def _kind(column: "pd.Series[Any]") -> str:
    plain = isinstance(column.dtype, np.dtype) and column.dtype.kind != "O"
    return str(column.dtype) if plain or isinstance(column.dtype, pd.BooleanDtype) else "text"


def _text(column: "pd.Series[Any]") -> pa.ChunkedArray:
    text = pa.array(column, pa.large_string() if column.dtype == object else None, from_pandas=True)
    text = text.cast(pa.large_string())
    # Pieces are not joined: for a column of nulls that would take longer than to hash them.
    return text if isinstance(text, pa.ChunkedArray) else pa.chunked_array([text])


def _bits(values: NDArray[Any], spare: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The bits of numbers, in `spare`. Equal numbers have equal bits: no minus zero, one NaN of the many."""
    if values.dtype != np.float64:
        return values.view(np.uint64)
    numbers = spare.view(np.float64)
    np.add(values, 0.0, out=numbers)
    np.copyto(numbers, np.nan, where=np.isnan(numbers))
    return spare


def _lengths(text: pa.LargeStringArray) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint8]]:
    """Where each value begins, how many bytes it has, -1 for a null, and the bytes of all."""
    _, offsets, content = text.buffers()
    ends = np.frombuffer(offsets, dtype=np.int64)[text.offset : text.offset + len(text) + 1]
    bytes_ = np.frombuffer(content or b"", dtype=np.uint8)[ends[0] : ends[-1]]
    nulls = text.is_null().to_numpy(zero_copy_only=False)
    return ends[:-1] - ends[0], np.where(nulls, -1, np.diff(ends)), bytes_


def _text_hashes(text: pa.ChunkedArray) -> NDArray[np.uint64] | np.uint64:
    """A 64-bit hash a value: its length, -1 for a null, and each eight bytes folded in; or one for all."""
    if text.null_count == len(text):
        return NULL_HASH
    starts, lengths, content = _lengths(text.combine_chunks())
    hashes = lengths.astype(np.uint64)
    for row in np.flatnonzero(lengths > LONG_TEXT):
        value = content[starts[row] : starts[row] + lengths[row]]
        hashes[row] = int.from_bytes(hashlib.sha256(value.data).digest()[:8], "little")
    # Every eight bytes of the content as a word, also those across two of them.
    padded = np.concatenate([content, np.zeros(8, dtype=np.uint8)])
    words = np.ndarray(len(content) + 1, dtype="<u8", buffer=padded, strides=(1,))
    rows = np.flatnonzero((lengths > 0) & (lengths <= LONG_TEXT))
    for done in range(0, LONG_TEXT, 8):
        rows = rows[lengths[rows] > done]
        if not len(rows):
            break
        part = hashes[rows]
        words_here = words[starts[rows] + done] & FIRST_BYTES[np.minimum(lengths[rows] - done, 8)]
        _fold(part, words_here, part, words_here)
        hashes[rows] = part
    return hashes


def _fold(
    hashes: NDArray[np.uint64] | np.uint64,
    values: NDArray[np.uint64] | np.uint64,
    folded: NDArray[np.uint64],
    spare: NDArray[np.uint64],
) -> None:
    """Fold values into hashes, which may be `folded`, as the values may be `spare`."""
    np.bitwise_xor(hashes, values, out=folded)
    folded *= FACTOR
    folded ^= np.right_shift(folded, HALF, out=spare)
