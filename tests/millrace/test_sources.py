"""What can be read, and what each thing that cannot be read is answered with."""

import socket
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from millrace.errors import UserError
from millrace.sources import read


def written(folder: Path, content: str | bytes, name: str = "table.csv") -> str:
    """The path of a file with this content."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def refusal(uri: str, cache: Path) -> str:
    """The sentence that reading `uri` is refused with."""
    with pytest.raises(UserError) as caught:
        read(uri, cache)
    return str(caught.value)


def test_csv_is_read_as_text_so_that_nothing_is_guessed_away(tmp_path: Path) -> None:
    raw = read(written(tmp_path, "id,flag,day,x\n007,true,2020-01-01,1.50\n,NA,,\n"), tmp_path)
    assert raw.table.to_pylist() == [
        {"id": "007", "flag": "true", "day": "2020-01-01", "x": "1.50"},
        {"id": "", "flag": "NA", "day": "", "x": ""},
    ]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffa,b\n1,x\n",
        "a,b\r\n1,x\r\n",
        "a,b\r1,x\r",
        '"a","b"\n"1","x"\n',
        "a,b\n\n1,x\n\n",
        "\n\na,b\n1,x",
    ],
    ids=["byte order mark", "crlf", "cr", "quotes", "blank lines", "no last newline"],
)
def test_usual_spellings_of_csv_are_the_same_table(tmp_path: Path, content: str) -> None:
    assert read(written(tmp_path, content), tmp_path).table.to_pylist() == [{"a": "1", "b": "x"}]


def test_quoted_names_and_cells_may_hold_commas_and_line_breaks(tmp_path: Path) -> None:
    raw = read(written(tmp_path, '"a, in m","b\nc"\n"1,5","x\ny"\n'), tmp_path)
    assert raw.table.to_pylist() == [{"a, in m": "1,5", "b\nc": "x\ny"}]


def test_rubbish_far_down_is_read_too(tmp_path: Path) -> None:
    raw = read(written(tmp_path, "a,b\n" + "1,2\n" * 300_000 + "oops,2\n"), tmp_path)
    assert raw.table.num_rows == 300_001
    assert raw.table.column("a")[-1].as_py() == "oops"


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    table = pa.table({"a": [1, None], "b": ["x", "NA"]})
    pq.write_table(table, tmp_path / "table.PARQUET")
    raw = read(str(tmp_path / "table.PARQUET"), tmp_path)
    assert raw.table.equals(table)
    assert raw.origin == str(tmp_path / "table.PARQUET")


def test_a_file_uri_is_a_path(tmp_path: Path) -> None:
    written(tmp_path, "a,b\n1,2\n")
    assert read(f"file://{tmp_path}/table.csv", tmp_path).table.num_rows == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "the file is empty"),
        (" \n\t\n", "the file is empty"),
        ("a,b", "has a header but no rows"),
        ("a,b\n", "has a header but no rows"),
        ("a,b\n1,2\n1,2,3\n", "not a well-formed CSV file: line 3: expected 2 columns, got 3: 1,2,3."),
        ("a,b\n\n1\n", "line 3: expected 2 columns, got 1: 1."),
        ('a;b\n1;2\n"x\ny";2;3\n', "line 3: expected 2 columns, got 3: x y;2;3."),
        ('a,b\n"x,2\n1,2\n', "not a well-formed CSV file: line 2: expected 2 columns, got 1"),
        ("a,b\n" + "1,2\n" * 300_000 + "1,2,3\n", "line 300002: expected 2 columns, got 3"),
        ("a,b\noops,2\n" + "1,2\n" * 300_000 + "1,2,3\n", "line 300003: expected 2 columns, got 3"),
        (b"\x1f\x8b\x08\x00\x00\x00", "is not a readable gzip file"),
        (bytes(range(256)), "is binary, not a CSV file"),
        ("a,b\n" + "1,2\n" * 50_000 + "\0,2\n", "line 50002 holds a NUL byte, so the CSV file is damaged"),
        (
            "\u0438\u043c\u044f,b\n\u0418\u0432\u0430\u043d,2\n".encode("cp1251"),
            "is not UTF-8 text; save the CSV file as UTF-8",
        ),
        ("a,b\n1,x\n".encode("utf-16")[:-1], "is not utf-16 text; save the CSV file as UTF-8"),
    ],
)
def test_what_is_no_csv_file_is_refused(tmp_path: Path, content: str | bytes, expected: str) -> None:
    path = written(tmp_path, content)
    found = refusal(path, tmp_path)
    assert found.startswith(f"{path}: ")
    assert expected in found


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"PAR1 and then something else"])
def test_what_is_no_parquet_file_is_refused(tmp_path: Path, content: bytes) -> None:
    assert "is not a readable Parquet file" in refusal(written(tmp_path, content, "t.parquet"), tmp_path)


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1.0] * 1000}), tmp_path / "whole.parquet")
    half = (tmp_path / "whole.parquet").read_bytes()[:200]
    assert "is not a readable Parquet file" in refusal(written(tmp_path, half, "half.parquet"), tmp_path)


def test_a_missing_file_is_refused_and_a_similar_one_named(tmp_path: Path) -> None:
    written(tmp_path, "a,b\n1,2\n")
    assert "no such file. Did you mean 'table.csv'?" in refusal(f"{tmp_path}/tabel.csv", tmp_path)
    assert refusal(f"{tmp_path}/nowhere/x.csv", tmp_path).endswith("nowhere/x.csv: no such file.")


@pytest.mark.parametrize("name", ["table.docx", "table.xls", "table.json", "table.parquet.gz", "table"])
def test_other_file_types_are_refused(tmp_path: Path, name: str) -> None:
    expected = "name a .csv, .tsv, .txt, .parquet, .arrow, .feather, .jsonl, .ndjson or .xlsx file."
    assert refusal(f"{tmp_path}/{name}", tmp_path).endswith(expected)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "parts.parquet").mkdir()
    assert "is a directory with no .parquet, .arrow or .feather file in it; name one file." in refusal(
        f"{tmp_path}/parts.parquet", tmp_path
    )


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.local import LocalFileSystem

    def deny(*_: Any) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(LocalFileSystem, "cat_file", deny)
    assert refusal(written(tmp_path, "a,b\n1,2\n"), tmp_path).endswith("cannot be read: Permission denied.")


def test_a_protocol_nobody_knows_is_refused(tmp_path: Path) -> None:
    assert "not a path or URI that can be read" in refusal("ftpx://host/table.csv", tmp_path)


def test_a_host_that_does_not_answer_is_refused(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert "cannot be read" in refusal(f"http://127.0.0.1:{unused.getsockname()[1]}/t.csv", tmp_path)


def test_the_sample_is_read_by_name(tmp_path: Path) -> None:
    assert read("sample://housing", tmp_path).table.num_rows > 1000
    assert (
        refusal("sample://hosing", tmp_path)
        == "Unknown sample 'hosing'. Did you mean 'housing'? Known: housing."
    )


@pytest.mark.parametrize(
    ("name", "classes"), [("iris", 3), ("wine", 3), ("breast_cancer", 2), ("diabetes", None)]
)
def test_data_sets_of_scikit_learn_come_with_class_names(
    tmp_path: Path, name: str, classes: int | None
) -> None:
    target = read(f"sklearn://{name}", tmp_path).table.column("target")
    assert pa.types.is_floating(target.type) == (classes is None)
    assert classes is None or (pa.types.is_string(target.type) and len(target.unique()) == classes)


def test_an_unknown_data_set_is_refused(tmp_path: Path) -> None:
    assert "Unknown scikit-learn data set 'irs'. Did you mean 'iris'?" in refusal("sklearn://irs", tmp_path)


@pytest.mark.filterwarnings("ignore:Retry downloading")
def test_a_download_without_network_is_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: Any) -> NoReturn:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setattr("time.sleep", lambda _: None)
    found = refusal("sklearn://california_housing", tmp_path)
    assert "'california_housing' cannot be downloaded" in found
    assert "Name or service not known" in found
    assert "--data PATH_OR_URI" in found


def test_a_column_that_is_there_twice_is_read_and_left_to_the_contract(tmp_path: Path) -> None:
    assert read(written(tmp_path, "a,a\n1,2\n"), tmp_path).table.column_names == ["a", "a"]


def test_california_housing_has_its_columns(housing: Path, tmp_path: Path) -> None:
    raw = read(str(housing), tmp_path)
    assert (raw.table.num_rows, raw.table.num_columns) == (20_640, 9)
    assert pa_csv.read_csv(housing).column_names == raw.table.column_names
