"""Parquet, Arrow, Feather and Excel, with projection and row filters."""

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from millrace.casting import cast
from millrace.contract import Column, parse_problem
from millrace.digests import table_digest
from millrace.errors import UserError
from millrace.sources import Source, read
from tests.millrace.test_sources import refusal, written

TABLE = pa.table(
    {
        "n": pa.array([1, 2, 3, None], pa.int64()),
        "word": pa.array(["a", "b", "a", "c"]).dictionary_encode(),
        "day": pa.array([datetime.date(2020, 1, day) for day in (1, 2, 3, 4)]),
        "x": [0.5, 1.5, 2.5, 3.5],
        "flag": [True, False, None, True],
    }
)
WANTED = {"n": Column(type="integer"), "word": Column(type="id")}


def workbook(path: Path, sheets: dict[str, list[list[Any]]]) -> str:
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        page = book.create_sheet(name)
        for row in rows:
            page.append(row)
    book.save(path)
    return str(path)


def stored(folder: Path, kind: str) -> str:
    """The path of the table, stored in this format."""
    path = folder / f"table.{kind}"
    if kind == "parquet":
        pq.write_table(TABLE, path, row_group_size=2)
    elif kind in ("arrow", "feather"):
        pa.feather.write_feather(TABLE, path)
    elif kind == "csv":
        TABLE.to_pandas().astype({"n": "Int64"}).to_csv(path, index=False)
    elif kind == "jsonl":
        TABLE.to_pandas().astype({"n": "Int64"}).to_json(
            path, orient="records", lines=True, date_format="iso"
        )
    elif kind == "xlsx":
        workbook(
            path, {"one": [TABLE.column_names, *map(list, zip(*TABLE.to_pydict().values(), strict=True))]}
        )
    elif kind == "folder":
        ds.write_dataset(TABLE, path, format="parquet", partitioning=["word"], partitioning_flavor="hive")
    return str(path)


KINDS = ("parquet", "arrow", "feather", "folder", "csv", "jsonl", "xlsx")


def test_row_groups_are_read_into_one_piece_of_memory(tmp_path: Path) -> None:
    table = pa.table({"x": [0.5, None, 1.5], "x.y": [1.0, 2.0, 3.0], "z": [4.0, 5.0, 6.0]})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=1)
    found = read(str(tmp_path / "t.parquet"), tmp_path, {name: Column(type="number") for name in "xz"})
    assert found.table.equals(table.select(["x", "z"]))
    assert found.names == ["x", "x.y", "z"]
    assert found.table["x"].num_chunks == 1


@pytest.mark.parametrize("kind", KINDS)
def test_wanted_columns_alone_are_read_and_all_names_are_known(tmp_path: Path, kind: str) -> None:
    raw = read(stored(tmp_path, kind), tmp_path, WANTED)
    assert sorted(raw.table.column_names) == ["n", "word"]
    assert sorted(raw.names) == sorted(TABLE.column_names)
    assert raw.table.num_rows == 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ([("n", ">", 1)], [2, 3]),
        ([("n", "!=", 2)], [1, 3]),
        ([("n", "in", (1, 3, 7))], [1, 3]),
        ([("word", "==", "a")], [1, 3]),
        ([("word", "in", ("a", "b")), ("n", "<=", 2.5)], [1, 2]),
        ([("x", ">=", 1.5), ("x", "<", 3)], [2, 3]),
        ([("flag", "==", True), ("n", "<", 9)], [1]),
    ],
    ids=str,
)
def test_row_filters_mean_the_same_in_every_format(
    tmp_path: Path, kind: str, where: list[tuple[str, str, Any]], expected: list[int]
) -> None:
    source = Source.model_validate({"uri": stored(tmp_path, kind), "where": where})
    found = read(source, tmp_path, WANTED).table
    assert found.column_names == read(source.uri or "", tmp_path, WANTED).table.column_names
    assert sorted(int(n) for n in found.column("n").to_pylist()) == expected


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_dates_are_compared_as_text_or_as_dates(tmp_path: Path, kind: str) -> None:
    where = [("day", ">", datetime.date(2020, 1, 2))]
    source = Source.model_validate({"uri": stored(tmp_path, kind), "where": where})
    assert source == Source.model_validate_json(source.model_dump_json())
    assert read(source, tmp_path).table.num_rows == 2


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ([("wrd", "==", "a")], "table.parquet: 'wrd'. Did you mean 'word'?"),
        ([("n", ">", "many")], "'where': 'many' cannot be compared with the column 'n' (int64)."),
        ([("day", ">", 7)], "'where': 7 cannot be compared with the column 'day' (date32[day])."),
        ([("n", ">", 100)], "no row fulfils 'where'."),
    ],
)
def test_a_filter_that_cannot_be_applied_is_refused(
    tmp_path: Path, where: list[tuple[str, str, Any]], expected: str
) -> None:
    source = Source.model_validate({"uri": stored(tmp_path, "parquet"), "where": where})
    with pytest.raises(UserError) as caught:
        read(source, tmp_path)
    assert expected in str(caught.value)


def test_a_number_is_compared_with_text_that_spells_one(tmp_path: Path) -> None:
    uri = written(tmp_path, "n\n10\n 9 \noops\n1e1\n\n")
    source = Source.model_validate({"uri": uri, "where": [("n", ">", 9)]})
    assert read(source, tmp_path).table.column("n").to_pylist() == ["10", "1e1"]


def test_a_partitioned_folder_gives_its_partitions_as_columns(tmp_path: Path) -> None:
    raw = read(stored(tmp_path, "folder"), tmp_path)
    assert raw.format == "Parquet: 3 files, partitioned by word"
    assert sorted(raw.table.column("word").to_pylist()) == ["a", "a", "b", "c"]


def test_bookkeeping_files_and_links_that_lead_back_are_not_read(tmp_path: Path) -> None:
    folder = Path(stored(tmp_path, "folder"))
    (folder / "_SUCCESS").touch()
    (folder / "_delta.parquet").touch()
    (folder / "loop").symlink_to(folder)
    assert read(str(folder), tmp_path).table.num_rows == 4


def test_a_folder_of_two_formats_is_refused(tmp_path: Path) -> None:
    stored(tmp_path, "parquet")
    stored(tmp_path, "arrow")
    assert "is a directory with .arrow and .parquet files; keep one kind" in refusal(str(tmp_path), tmp_path)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_link_to_itself_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"loop.{suffix}"
    path.symlink_to(path)
    found = refusal(str(path), tmp_path)
    assert "Too many levels of symbolic links" in found or "no such file" in found


@pytest.mark.parametrize("kind", ["parquet", "arrow", "feather", "xlsx"])
def test_what_is_not_of_its_format_is_refused(tmp_path: Path, kind: str) -> None:
    found = refusal(written(tmp_path, "a,b\n1,2\n", f"table.{kind}"), tmp_path)
    assert f"is not a readable {'.xlsx' if kind == 'xlsx' else kind.title()} file" in found
    assert len(found.splitlines()) == 1


@pytest.mark.parametrize("kind", ["parquet", "arrow", "xlsx"])
def test_a_file_that_is_not_there_is_refused(tmp_path: Path, kind: str) -> None:
    stored(tmp_path, kind)
    assert f"no such file. Did you mean 'table.{kind}'?" in refusal(f"{tmp_path}/tabel.{kind}", tmp_path)


def test_two_columns_of_one_name_in_parquet_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_arrays([pa.array([1])] * 2, names=["a", "a"]), tmp_path / "t.parquet")
    assert "two of its columns have one name" in refusal(str(tmp_path / "t.parquet"), tmp_path)


def test_a_sheet_is_chosen_by_name(tmp_path: Path) -> None:
    rows = {"first": [["a"], [1]], "Prices 2020": [["id", "n", None], ["007", 1.5, "note"], [None, None]]}
    path = workbook(tmp_path / "book.xlsx", rows)
    assert read(path, tmp_path).format == "Excel: sheet first"
    by_fragment = read(f"{path}#Prices 2020", tmp_path).table
    assert by_fragment.to_pylist() == [{"id": "007", "n": 1.5}]
    assert read(Source(uri=path, sheet="Prices 2020"), tmp_path).table == by_fragment
    expected = "'Prices 2002'. Did you mean 'Prices 2020'? Known: Prices 2020, first."
    assert refusal(f"{path}#Prices 2002", tmp_path).endswith(expected)


def test_an_empty_sheet_and_a_sheet_of_a_csv_file_are_refused(tmp_path: Path) -> None:
    path = workbook(tmp_path / "book.xlsx", {"empty": [["a"]]})
    assert "the sheet 'empty' has no header with rows below it" in refusal(path, tmp_path)
    with pytest.raises(UserError, match=r"'sheet' is for \.xlsx files"):
        read(Source(uri=written(tmp_path, "a\n1\n"), sheet="x"), tmp_path)


def test_the_same_rows_have_the_same_digest_in_every_format(tmp_path: Path) -> None:
    problem = parse_problem(
        {
            "name": "p",
            "title": "P",
            "task": "regression",
            "source": "x",
            "target": {"name": "x", "type": "number"},
            "features": {
                "n": {"type": "integer", "nullable": True},
                "word": {"type": "category", "categories": ["a", "b", "c"]},
                "flag": {"type": "boolean", "nullable": True},
            },
        }
    )
    digests = {
        table_digest(cast(read(stored(tmp_path, kind), tmp_path, problem.columns).table, problem, kind))
        for kind in KINDS
        if kind != "folder"  # Its rows are in the order of its partitions.
    }
    assert len(digests) == 1
