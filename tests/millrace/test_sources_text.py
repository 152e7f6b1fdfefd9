"""Delimited text and JSON lines: delimiter, encoding, compression and decimal commas are found out."""

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contract import Column
from millrace.errors import UserError
from millrace.sources import Source, read, text
from tests.millrace.test_sources import refusal, written

ROWS = [{"name": "Müller", "price": "1"}, {"name": "José, São Paulo", "price": "007"}]
Compress = Callable[[bytes], bytes]


def zipped(content: bytes, name: str = "inner.csv") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
        archive.writestr("__MACOSX/._inner.csv", b"x")
    return file.getvalue()


def zstd(content: bytes) -> bytes:
    return bytes(pa.compress(content, codec="zstd", asbytes=True))


COMPRESSIONS: dict[str, tuple[str, Compress]] = {
    "gzip": ("table.csv.gz", gzip.compress),
    "bzip2": ("table.csv.bz2", bz2.compress),
    "xz": ("table.csv.xz", lzma.compress),
    "zstd": ("table.csv.zst", zstd),
    "zip": ("table.zip", zipped),
}


@pytest.mark.parametrize(
    ("encoding", "reported"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8 with a byte order mark"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-32"),
        ("cp1252", "cp1252"),
    ],
)
@pytest.mark.parametrize(
    ("delimiter", "word"), [(",", "comma"), (";", "semicolon"), ("\t", "tab"), ("|", "vertical bar")]
)
def test_delimiter_and_encoding_are_found_out_and_reported(
    tmp_path: Path, delimiter: str, word: str, encoding: str, reported: str
) -> None:
    lines = ["name,price", "Müller,1", '"José, São Paulo",007']
    content = "\n".join(line.replace(",", delimiter, 1) for line in lines[:2])
    content += f'\n"José, São Paulo"{delimiter}007\n'
    raw = read(written(tmp_path, content.encode(encoding)), tmp_path)
    assert raw.table.to_pylist() == ROWS
    assert raw.format == f"CSV: {word}, {reported}"


@pytest.mark.parametrize("method", COMPRESSIONS)
def test_compression_is_found_out_and_reported(tmp_path: Path, method: str) -> None:
    name, compress = COMPRESSIONS[method]
    raw = read(written(tmp_path, compress("größe;b\n1;2\n".encode("cp1252")), name), tmp_path)
    assert raw.table.to_pylist() == [{"größe": "1", "b": "2"}]
    assert raw.format == f"CSV: semicolon, cp1252, {method}"


@pytest.mark.parametrize("method", COMPRESSIONS)
def test_a_damaged_compressed_file_is_refused(tmp_path: Path, method: str) -> None:
    name, compress = COMPRESSIONS[method]
    whole = compress(b"a,b\n" + b"".join(b"%d,2\n" % n for n in range(5000)))
    found = refusal(written(tmp_path, whole[: len(whole) // 2], name), tmp_path)
    assert f"is not a readable {method} file" in found


@pytest.mark.parametrize("method", COMPRESSIONS)
def test_a_decompression_bomb_is_refused_before_it_fills_memory(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text, "LARGEST_BOMB", 2**21)
    monkeypatch.setattr(text, "HIGHEST_RATIO", 500)
    name, compress = COMPRESSIONS[method]
    found = refusal(written(tmp_path, compress(b"0" * 2**23), name), tmp_path)
    assert "like a decompression bomb" in found


def test_a_zip_file_of_several_tables_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", "a\n1\n")
        archive.writestr("b.csv", "a\n1\n")
    assert "holds 2 files; it must hold one table" in refusal(str(tmp_path / "two.zip"), tmp_path)


def test_a_zip_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, zipped(b"x", "photo.jpg"), "table.zip")
    assert "holds 'photo.jpg', which is no table of text" in refusal(path, tmp_path)


def test_the_bytes_that_tell_the_encoding_may_be_far_down(tmp_path: Path) -> None:
    content = ("a;b\n" + "1;2\n" * 100_000 + "größe;2\n").encode("cp1252")
    raw = read(written(tmp_path, content), tmp_path)
    assert raw.table.column("a")[-1].as_py() == "größe"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_only_windows_1252_has_is_read_right(tmp_path: Path, end: str) -> None:
    lines = ["Straße;Preis", "Größe “L”;5 €", "Œuvre de l\u2019été;7 ‰", "Šumava…;8"]
    raw = read(written(tmp_path, end.join(lines).encode("cp1252")), tmp_path)
    assert raw.format == "CSV: semicolon, cp1252"
    assert [raw.names, *(list(row.values()) for row in raw.table.to_pylist())] == [
        line.split(";") for line in lines
    ]


@pytest.mark.parametrize(
    ("encoding", "city"),
    [
        ("cp1250", "Łódź"),
        ("ISO-8859-2", "Győr"),
        ("cp1251", "Иваново"),
        ("utf8", "Řím"),
        ("utf-16-le", "Žďár"),
    ],
)
def test_an_encoding_that_is_named_is_taken_at_its_word(tmp_path: Path, encoding: str, city: str) -> None:
    for name in ("t.csv", "t.jsonl"):
        content = f"city,n\n{city},1\n" if name == "t.csv" else f'{{"city": "{city}", "n": "1"}}\n'
        source = Source(uri=written(tmp_path, content.encode(encoding), name), encoding=encoding)
        raw = read(source, tmp_path)
        assert raw.table.to_pylist() == [{"city": city, "n": "1"}]
        assert codecs.lookup(encoding).name in raw.format


def test_a_wrong_letter_comes_with_the_encoding_that_was_assumed(tmp_path: Path) -> None:
    raw = read(written(tmp_path, "miasto,n\nKraków Łódź,1\n".encode("cp1250")), tmp_path)
    assert raw.table.column("miasto").to_pylist() == ["Kraków £ódŸ"]
    assert raw.format == "CSV: comma, cp1252"


def test_a_named_encoding_that_cannot_be_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b\nGröße,1\n".encode("cp1252"))
    with pytest.raises(UserError, match="line 2 is not utf-8 text"):
        read(Source(uri=path, encoding="utf-8"), tmp_path)
    with pytest.raises(ValueError, match="there is no encoding 'cp125'"):
        Source(uri=path, encoding="cp125")
    with pytest.raises(UserError, match="'encoding' is for files of text"):
        read(Source(uri=str(tmp_path / "t.parquet"), encoding="cp1250"), tmp_path)


def test_wanted_names_decide_between_delimiters(tmp_path: Path) -> None:
    path = written(tmp_path, "area, m2;price\n1,5;2\n")
    columns = {"area, m2": Column(type="number"), "price": Column(type="number")}
    assert read(path, tmp_path, columns).table.to_pylist() == [{"area, m2": "1.5", "price": "2"}]


NUMBERS = {"n": Column(type="number"), "m": Column(type="number")}


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1,5", "2", "", "NA"], ["1.5", "2", "", "NA"]),
        (["0,125"], ["0.125"]),
        (["1.234,5", "-12,25", "1,5e3"], ["1234.5", "-12.25", "1.5e3"]),
        (["1,5", "oops"], ["1.5", "oops"]),
        (["1,234"], ["1,234"]),
        (["1,5", "2.5"], ["1,5", "2.5"]),
    ],
    ids=["plain", "zero leads", "points for thousands", "rubbish", "perhaps thousands", "both kinds"],
)
def test_decimal_commas_are_converted_only_if_they_can_be_nothing_else(
    tmp_path: Path, cells: list[str], expected: list[str]
) -> None:
    raw = read(written(tmp_path, "n;m\n" + "".join(f"{cell};1\n" for cell in cells)), tmp_path, NUMBERS)
    assert raw.table.column("n").to_pylist() == expected
    assert raw.format.endswith("decimal commas in n") == (cells != expected)


def test_a_comma_in_a_category_stays(tmp_path: Path) -> None:
    columns = {"n": Column(type="category", categories=("0,5", "1,5")), "m": Column(type="id")}
    assert read(written(tmp_path, "n;m\n0,5;1,5\n"), tmp_path, columns).table.to_pylist() == [
        {"n": "0,5", "m": "1,5"}
    ]


def test_only_the_wanted_columns_are_read_and_all_names_are_known(tmp_path: Path) -> None:
    raw = read(written(tmp_path, "x,n,m,y\n1,2,3,4\n"), tmp_path, NUMBERS)
    assert raw.table.column_names == ["n", "m"]
    assert raw.names == ["x", "n", "m", "y"]


@pytest.mark.parametrize("header", ["x,n,l,y", "n,n,m,y"], ids=["missing", "twice"])
def test_if_a_wanted_column_is_not_there_once_all_are_read(tmp_path: Path, header: str) -> None:
    raw = read(written(tmp_path, f"{header}\n1,2,3,4\n"), tmp_path, NUMBERS)
    assert raw.table.column_names == raw.names == header.split(",")


cells = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=8)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=20), st.sampled_from(",;\t|"))
def test_what_was_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], delimiter: str
) -> None:
    import csv

    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("one", "two"), *rows])
    folder = tmp_path_factory.mktemp("csv")
    columns = {"one": Column(type="id"), "two": Column(type="id")}
    table = read(written(folder, file.getvalue()), folder, columns).table
    assert [(row["one"], row["two"]) for row in table.to_pylist()] == rows


def test_json_lines_keep_their_types_and_mixed_columns_become_text(tmp_path: Path) -> None:
    lines = '{"a": 1, "b": "2020-01-01", "c": 1}\n\n{"a": 2.5, "c": "x", "d": true}\n{"c": null}\n'
    raw = read(written(tmp_path, lines, "table.jsonl"), tmp_path)
    assert raw.table.to_pylist() == [
        {"a": 1.0, "b": "2020-01-01", "c": "1", "d": None},
        {"a": 2.5, "b": None, "c": "x", "d": True},
        {"a": None, "b": None, "c": None, "d": None},
    ]
    assert raw.format == "JSON lines: utf-8"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"a": 1}\n{"a": \n', "line 2 is not a JSON object"),
        ('[{"a": 1}]', "line 1 is not a JSON object"),
        ('{"a": 1}\n7\n', "line 2 is not a JSON object"),
        ('{"a": ' + "[" * 5000 + "]" * 5000 + "}\n", "line 1 is not a JSON object"),
        ("", "the file is empty"),
    ],
)
def test_what_is_no_json_line_is_refused(tmp_path: Path, content: str, expected: str) -> None:
    assert expected in refusal(written(tmp_path, content, "table.ndjson"), tmp_path)


def test_compressed_json_lines_are_read(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(b'{"a": 1}\n'), "table.jsonl.gz")
    assert read(path, tmp_path).format == "JSON lines: utf-8, gzip"
