"""Bodies that no service should trust, made by code: what each is, as what it is sent, and what it gets."""

import gzip
import io
import json
import random
import struct
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import polars
import pyarrow as pa
import pyarrow.ipc

from millrace.request_tables import ARROW, CSV, PARQUET, write_table
from tests.bentos.running import HOUSE

JSON = "application/json"
# Of each kind of body, for what is sent whole and for what is changed.
TABLE = pa.table(
    {
        "parcel": ["a", "b"],
        "area (m2)": [80.0, 90.5],
        "height": [2.5, None],
        "rooms": [3, 4],
        "floor": pa.array([None, 1], pa.int64()),
        "district": pa.array(["north", 'a "b"']).dictionary_encode(),
        "heating": [None, "gas"],
        "garden": [True, None],
        "new": [True, False],
        "sold": ["2024-05-01", None],
        "deed": [None, "d1"],
    }
)


class Body(NamedTuple):
    """What is sent, as which type; `status` is that of the answer."""

    name: str
    media: str
    content: bytes
    status: int


def sound() -> dict[str, bytes]:
    """A body of each type that is answered."""
    rows = TABLE.to_pylist()
    tables = {media: write_table(TABLE, media) for media in (CSV, PARQUET, ARROW)}
    return {JSON: json.dumps({"rows": rows, "interval": 0.9}).encode(), **tables}


def corpus() -> list[Body]:
    """All of them."""
    whole = [Body(f"sound {media}", media, content, 200) for media, content in sound().items()]
    return [*whole, *_json(), *_csv(), *_parquet(), *_arrow(), *_of_other_types()]


def mutants(body: bytes, count: int, seed: int) -> Iterator[bytes]:
    """A body with each byte zeroed; and with some flipped, put in, taken out or doubled, as a seed has it."""
    for place in range(len(body)):
        yield body[:place] + b"\0" + body[place + 1 :]
    chance = random.Random(seed)
    for _ in range(count):
        changed = bytearray(body)
        for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
            start = chance.randrange(len(changed) + 1)
            end = min(len(changed), start + chance.choice((1, 1, 2, 4, 16)))
            some = bytes(changed[start:end])
            token = chance.choice(TOKENS)
            changed[start:end] = chance.choice(
                (b"", some + some, chance.randbytes(len(some)), token, token + some, _flipped(some, chance))
            )
        yield bytes(changed)


# Put in where they hurt: ends of ranges, and what formats have for a structure.
TOKENS = [
    *(b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\0", b"\n", b"null", b"true", b"-", b"e", b"."),
    *(
        b"NaN",
        b"1e999",
        b"-0",
        b"9223372036854775808",
        b'"\\ud800"',
        b"\xff",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
    ),
    *(b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x80\0\0\0", b"\x01\0\0\0"),
]


def _flipped(some: bytes, chance: random.Random) -> bytes:
    return bytes(byte ^ (1 << chance.randrange(8)) for byte in some)


def _json() -> Iterator[Body]:
    def row(status: int, name: str, **changes: str) -> Body:
        """A row of which some values are other JSON texts."""
        values = {key: json.dumps(value) for key, value in HOUSE.items()} | changes
        members = ", ".join(f"{json.dumps(key)}: {value}" for key, value in values.items())
        return Body(name, JSON, f'{{"rows": [{{{members}}}]}}'.encode("utf-8", "surrogatepass"), status)

    whole = json.dumps({"rows": [HOUSE]}).encode()
    for length in (0, 1, 10, len(whole) // 2, len(whole) - 1):
        yield Body(f"cut after {length} bytes", JSON, whole[:length], 400)
    yield Body("more after the end", JSON, whole + b"{}", 400)
    for opening, closing in (("[", "]"), ('{"rows":', "}"), ('{"rows":[', "]}")):
        deep = opening * 100_000
        yield Body(f"100,000 times {opening}", JSON, deep.encode(), 422)
        yield Body(f"100,000 times {opening}, closed", JSON, (deep + "1" + closing * 100_000).encode(), 422)
    yield row(422, "a value 100,000 deep", rooms="[" * 100_000)
    yield row(422, "a value 100,000 deep, closed", rooms="[" * 100_000 + "]" * 100_000)
    yield row(422, "an unknown field 100,000 deep", other="[" * 100_000 + "]" * 100_000)
    for number in ("1e400", "-1e400", "1e309", "9" * 400, "0." + "0" * 400 + "1", "-0", "-0.0", "1e-400"):
        yield row(422, f"rooms: {number[:20]}", rooms=number)
    yield row(200, "minus zero where zero may be", floor="-0")
    yield row(422, "the 64th power of two", floor=str(2**64))
    for word in ("NaN", "Infinity", "-Infinity", "nan", "01", "1.", ".5", "+1", "True", "undefined"):
        yield row(400, f"rooms: {word}", rooms=word)
    yield row(422, "a number in text", rooms='"3"')
    yield row(422, "a boolean for a number", rooms="true")
    yield Body("a field twice", JSON, b'{"rows": [{"rooms": 99, %s]}' % json.dumps(HOUSE).encode()[1:], 422)
    yield Body("rows twice", JSON, b'{"rows": [], %s' % whole[1:], 422)
    yield row(400, "half of a surrogate pair for a category", district=r'"\ud800"')
    yield row(400, "half of a surrogate pair", parcel=r'"\ud800"')
    yield row(400, "the halves the wrong way round", deed=r'"\udc00\ud800"')
    yield row(400, "a surrogate in UTF-8", parcel='"\ud800"')
    yield row(200, "a pair of surrogates", parcel=r'"\ud83d\ude00"')
    yield row(200, "an escaped NUL", parcel=r'"\u0000"')
    yield row(400, "a raw NUL", parcel='"\0"')
    yield row(400, "a raw line's end in text", parcel='"\n"')
    yield row(422, "an empty name", **{"": "1"})
    yield row(422, "a name of 100,000 characters", **{"n" * 100_000: "1"})
    yield row(200, "a key of 100,000 characters", parcel=json.dumps("k" * 100_000))
    yield row(422, "a date that is none", sold='"2024-02-30"')
    yield row(200, "the last year", sold='"9999-12-31T23:59:59.999999-12:00"')
    for moment in ("0000-01-01", "10000-01-01", "2024-01-01T25:00", "now", "", "²024-01-01"):
        yield row(422, f"sold: {moment}", sold=f'"{moment}"')
    for name, content in (("bytes that are no UTF-8", b"\xff\xfe"), ("cut UTF-8", b"\xe2\x82")):
        yield Body(name, JSON, b'{"rows": [{"parcel": "%s"}]}' % content, 400)
    yield Body("a byte order mark", JSON, b"\xef\xbb\xbf" + whole, 400)
    for encoding in ("utf-16", "utf-16-le", "utf-32"):
        yield Body(encoding, JSON, whole.decode().encode(encoding), 400)
    yield Body("gzip", JSON, gzip.compress(whole), 400)
    for top in (
        "[]",
        "[1]",
        "1",
        "null",
        '"rows"',
        "true",
        "{}",
        '{"rows": {}}',
        '{"rows": null}',
        '{"rows": []}',
    ):
        yield Body(f"at the top {top}", JSON, top.encode(), 422)
    for inner in ("null", "1", "[]", '"row"', "{}"):
        yield Body(f"a row that is {inner}", JSON, b'{"rows": [%s]}' % inner.encode(), 422)
    yield Body("10,001 rows", JSON, json.dumps({"rows": [HOUSE] * 10_001}).encode(), 422)
    yield Body("a million empty rows", JSON, b'{"rows": [' + b"{}," * 10**6 + b"{}]}", 422)
    yield Body("NUL alone", JSON, b"\0" * 1000, 400)
    yield Body("blanks alone", JSON, b" " * 1000, 400)
    yield Body("a level that is no number", JSON, b'{"interval": "0.9", %s' % whole[1:], 422)
    yield Body("a level out of range", JSON, b'{"interval": 1e400, %s' % whole[1:], 422)


def _csv() -> Iterator[Body]:
    whole = sound()[CSV]
    head, first, _ = whole.split(b"\n", 2)
    yield Body("CSV of nothing", CSV, b"", 400)
    yield Body("CSV without rows", CSV, head + b"\n", 422)
    yield Body("CSV with a cell too few", CSV, head + b"\n" + first.rpartition(b",")[0] + b"\n", 400)
    yield Body("CSV with a cell too many", CSV, head + b"\n" + first + b",1\n", 400)
    yield Body("CSV with a quote that stays open", CSV, head + b'\n"' + first + b"\n", 400)
    yield Body("CSV with a quote in the middle", CSV, head + b"\n" + first.replace(b"a", b'"a"b', 1), 400)
    yield Body("CSV with NUL", CSV, head + b"\n" + first.replace(b"a", b"\0", 1), 200)
    yield Body("CSV of NUL", CSV, b"\0" * 100, 422)
    yield Body("CSV that is no UTF-8", CSV, head + b"\n" + first.replace(b"a", b"\xff", 1), 400)
    yield Body("CSV in UTF-16", CSV, whole.decode().encode("utf-16"), 400)
    yield Body("CSV with a byte order mark", CSV, b"\xef\xbb\xbf" + whole, 200)
    yield Body("CSV with semicolons", CSV, whole.replace(b",", b";"), 400)
    yield Body("CSV with a name twice", CSV, whole.replace(b"deed", b"parcel", 1), 400)
    yield Body("CSV with the old Macs' line ends", CSV, whole.replace(b"\n", b"\r"), 200)
    yield Body("CSV with a cell of 200,000 characters", CSV, head + b"\n" + b"x" * 200_000 + b",", 400)
    yield Body("CSV of 10,001 rows", CSV, head + (b"\n" + first) * 10_001, 422)
    yield Body("CSV of a million cells in its head", CSV, b"a," * 10**6, 400)
    for number in ("nan", "inf", "1e400", "1_000", "0x10", "\uff11\uff12", "--1", "1,5"):
        cells = first.replace(b"80", f'"{number}"'.encode())
        yield Body(f"CSV with the number {number}", CSV, head + b"\n" + cells, 422)
    yield Body("CSV gzipped", CSV, gzip.compress(whole), 400)


def _parquet() -> Iterator[Body]:
    whole = sound()[PARQUET]
    for part in (0, 4, len(whole) // 2, len(whole) - 8, len(whole) - 1):
        yield Body(f"Parquet cut after {part} bytes", PARQUET, whole[:part], 400)
    yield Body("Parquet with a hole", PARQUET, whole[:8] + b"\0" * 200 + whole[208:], 400)
    yield Body(
        "Parquet whose end is said to be 4 GB long", PARQUET, whole[:-8] + b"\xff" * 4 + whole[-4:], 400
    )
    yield Body("Parquet without a page", PARQUET, whole[:4] + whole[-400:], 400)
    yield Body("CSV sent as Parquet", PARQUET, sound()[CSV], 400)
    for name, kind, values in TYPED:
        yield Body(f"Parquet with {name}", PARQUET, write_table(_with(kind, values), PARQUET), 422)
    yield Body("Parquet with decimals", PARQUET, write_table(_with(*DECIMALS), PARQUET), 200)
    yield Body("Parquet of 10,001 rows", PARQUET, write_table(_bomb(10_001), PARQUET), 422)
    yield Body("Parquet of 5 million rows", PARQUET, write_table(_bomb(5_000_000), PARQUET), 422)
    yield Body("Parquet of 1.6 GB of text, kept once", PARQUET, write_table(_repeated(), PARQUET), 422)
    yield Body("Parquet without columns", PARQUET, write_table(pa.table({}), PARQUET), 422)
    yield Body("Parquet without rows", PARQUET, write_table(TABLE.slice(0, 0), PARQUET), 422)


def _arrow() -> Iterator[Body]:
    whole = sound()[ARROW]
    for part in (0, 4, 100, len(whole) // 2):
        yield Body(f"Arrow cut after {part} bytes", ARROW, whole[:part], 400)
    yield Body("an Arrow file for a stream", ARROW, _arrow_file(), 400)
    yield Body("Arrow with a length of 2 GB", ARROW, whole[:4] + b"\xff\xff\xff\x7f" + whole[8:], 400)
    yield Body("Parquet sent as Arrow", ARROW, sound()[PARQUET], 400)
    for name, kind, values in (*TYPED, *ARROW_TYPED):
        yield Body(f"Arrow with {name}", ARROW, write_table(_with(kind, values), ARROW), 422)
    yield Body("Arrow with decimals", ARROW, write_table(_with(*DECIMALS), ARROW), 200)
    yield Body("Arrow as polars writes it", ARROW, _by_polars(), 200)
    yield Body("Arrow whose texts point out of it", ARROW, _pointing_out(), 400)
    damaged = _with(pa.timestamp("s", "Nowhere/Such"), [0, None])
    nowhere = write_table(damaged, ARROW).replace(b"Nowhere/Such", b"Nowhere/\xff\xff\xff\xff")
    yield Body("Arrow with a zone that is no UTF-8", ARROW, nowhere, 422)
    yield Body("Arrow of 1.6 GB of text, kept once", ARROW, write_table(_repeated(), ARROW), 422)
    yield Body("Arrow of 1.6 GB of text, viewed", ARROW, write_table(_repeated(pa.string_view()), ARROW), 422)
    yield Body("Arrow of 1.6 GB of zeros, compressed", ARROW, _compressed(), 400)
    yield Body("Arrow of 10,001 rows", ARROW, write_table(_bomb(10_001), ARROW), 422)


def _of_other_types() -> Iterator[Body]:
    whole = json.dumps({"rows": [HOUSE]}).encode()
    for media in ("", "text/plain", "application/x-www-form-urlencoded", "application/json;", "text/json"):
        yield Body(f"sent as '{media}'", media, whole, 200 if media == "application/json;" else 415)
    yield Body("JSON sent as CSV", CSV, whole, 422)
    yield Body("JSON sent as Parquet", PARQUET, whole, 400)


def _with(kind: pa.DataType, values: list[Any]) -> pa.Table:
    """The sound table with another type of number."""
    return TABLE.set_column(TABLE.column_names.index("height"), "height", pa.array(values, kind))


TYPED: list[tuple[str, pa.DataType, list[Any]]] = [
    ("lists", pa.list_(pa.float64()), [[1.0], [float("nan")]]),
    ("structs", pa.struct({"a": pa.float64()}), [{"a": 1.0}, {"a": float("inf")}]),
    ("maps", pa.map_(pa.string(), pa.int64()), [[("a", 1)], []]),
    ("bytes", pa.binary(), [b"\xff\0", b""]),
    ("durations", pa.duration("us"), [timedelta(days=1), timedelta(0)]),
    ("times", pa.time64("us"), [1, 2]),
    ("dates", pa.date32(), [date(2024, 1, 1), None]),
    ("moments beyond the calendar", pa.timestamp("s"), [2**50, -(2**50)]),
    ("moments of nanoseconds", pa.timestamp("ns"), [1, -1]),
    ("moments of a zone", pa.timestamp("us", "Europe/Berlin"), [0, None]),
    ("infinity", pa.float64(), [float("inf"), 1.0]),
    ("infinity in 32 bits", pa.float32(), [float("-inf"), 1.0]),
    ("numbers too large", pa.uint64(), [2**64 - 1, 0]),
    ("text for numbers", pa.large_string(), ["many", "\0"]),
]
DECIMALS = pa.decimal128(10, 2), [Decimal("2.50"), None]
# Those that Parquet does not know.
ARROW_TYPED: list[tuple[str, pa.DataType, list[Any]]] = [
    ("intervals", pa.month_day_nano_interval(), [(1, 2, 3), None]),
    ("text as views", pa.string_view(), ["many", None]),
]


def _bomb(rows: int) -> pa.Table:
    return pa.table({name: pa.nulls(rows) for name in TABLE.column_names})


def _repeated(kind: pa.DataType | None = None) -> pa.Table:
    """Ten thousand rows with the same text of 160 kB, which is kept once."""
    text = pa.array(["x" * 160_000], kind or pa.string())
    deeds: Any = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), text)
    if kind is not None:
        view = np.frombuffer(text.buffers()[1], np.uint8)
        buffers = [None, pa.py_buffer(np.tile(view[:16], 10_000)), text.buffers()[2]]
        deeds = pa.Array.from_buffers(kind, 10_000, buffers)
    return pa.table({name: pa.nulls(10_000) for name in TABLE.column_names} | {"deed": deeds})


def _compressed() -> bytes:
    sink = pa.BufferOutputStream()
    zeros = pa.table({"zeros": pa.array(np.zeros(200_000_000))})
    with pa.ipc.new_stream(sink, zeros.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(zeros)
    return bytes(sink.getvalue())


def _by_polars() -> bytes:
    """Texts are views, and categories have views for texts and no signs."""
    body = io.BytesIO()
    polars.DataFrame(TABLE).write_ipc_stream(body)
    return body.getvalue()


def _pointing_out() -> bytes:
    """The second text ends a gigabyte behind the body."""
    place = TABLE.column_names.index("deed")
    body = write_table(TABLE.set_column(place, "deed", pa.array(["abc", "defgh"])), ARROW)
    sound, changed = (struct.pack("<3i", 0, 3, end) for end in (8, 2**30))
    assert body.count(sound) == 1
    return body.replace(sound, changed)


def _arrow_file() -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, TABLE.schema) as writer:
        writer.write_table(TABLE)
    return bytes(sink.getvalue())
