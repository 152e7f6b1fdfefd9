"""A source read in batches is the same table as one read whole."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contract import Column
from millrace.errors import UserError
from millrace.sources import read, streams
from millrace.sources.streams import Part, find_parts

COLUMNS = {"n": Column(type="number"), "name": Column(type="id")}
TABLE = pa.table(
    {
        "n": pa.array([None if i % 7 == 0 else i / 4 for i in range(1_000)]),
        "other": pa.array(range(1_000)),
        "name": pa.array([f"00{i}, é" for i in range(1_000)]),
    }
)
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.compress(content, "zstd", asbytes=True),
}


def parts(uri: object, **options: bool) -> list[Part]:
    return find_parts(str(uri), Path(), COLUMNS, **options)


def joined(part: Part, rows: int) -> pa.Table:
    tables = [batch.table for batch in part.read(rows)]
    assert [table.num_rows for table in tables[:-1]] == [rows] * (len(tables) - 1)
    return pa.concat_tables(tables).combine_chunks()


@pytest.mark.parametrize("ending", ["parquet", "arrow", "jsonl", "csv"])
@pytest.mark.parametrize("every", [False, True])
def test_batches_are_the_table_that_is_read_whole(ending: str, every: bool, tmp_path: Path) -> None:
    path = tmp_path / f"table.{ending}"
    if ending == "parquet":
        pq.write_table(TABLE, path, row_group_size=130)
    elif ending == "arrow":
        feather.write_feather(TABLE, str(path), chunksize=77)
    elif ending == "csv":
        TABLE.to_pandas().to_csv(path, index=False)
    else:
        TABLE.to_pandas().to_json(path, orient="records", lines=True)
    whole = read(str(path), tmp_path, None if every else COLUMNS).table
    [part] = parts(path, every=every)
    for rows in (1_000, 64, 999):
        assert joined(part, rows).equals(whole.combine_chunks())
    assert [batch.share for batch in part.read(300)][-1] == 1.0


@given(groups=st.integers(1, 50), rows=st.integers(1, 60), count=st.integers(1, 200))
def test_batches_do_not_depend_on_row_groups(
    groups: int, rows: int, count: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "groups.parquet"
    table = TABLE.slice(0, count)
    pq.write_table(table, path, row_group_size=groups)
    [part] = parts(path, every=True)
    assert joined(part, rows).equals(table.combine_chunks())


@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_large_csv_file_is_streamed_as_it_is_read_whole(
    ending: str, delimiter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = TABLE.to_pandas()
    frame.loc[3, "name"] = 'two\nlines; and a "quote"'
    text = frame.to_csv(index=False, sep=delimiter, decimal="," if delimiter == ";" else ".")
    path = tmp_path / f"table.csv{ending}"
    path.write_bytes(COMPRESS[ending](b"\xef\xbb\xbf" + text.encode()))
    whole = read(str(path), tmp_path, COLUMNS).table.combine_chunks()
    assert pc.sum(whole["n"].filter(pc.not_equal(whole["n"], "")).cast(pa.float64())).as_py() > 0
    monkeypatch.setattr(streams, "WHOLE", 0)
    monkeypatch.setattr(streams, "WHOLE_COMPRESSED", 0)
    monkeypatch.setattr(streams, "BLOCK", 4_096)
    [part] = parts(path)
    assert joined(part, 64).equals(whole)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"n,name\n1,a\n2,b,c\n", "is not a well-formed CSV file"),
        (b"n,name\n1,\xe9\n", "save it as UTF-8"),
    ],
)
def test_a_large_csv_file_that_is_none_is_refused(
    content: bytes, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "WHOLE", 0)
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=expected):
        joined(parts(path)[0], 10)


def test_folders_and_patterns_are_parts_in_order(tmp_path: Path) -> None:
    for year in (2023, 2024):
        folder = tmp_path / "in" / f"year={year}"
        folder.mkdir(parents=True)
        for name in ("b.parquet", "a.parquet", "_unfinished.parquet"):
            pq.write_table(TABLE.slice(0, 3), folder / name)
        (folder / "notes.md").write_text("no table")
    found = parts(tmp_path / "in", every=True)
    assert [part.name.rpartition(": ")[2] for part in found] == [
        f"year={year}/{name}.parquet" for year in (2023, 2024) for name in "ab"
    ]
    assert set(joined(found[3], 10)["year"].to_pylist()) == {"2024"}
    some = parts(f"{tmp_path}/in/*/a.parquet")
    assert [part.name.rpartition(": ")[2] for part in some] == [f"year={y}/a.parquet" for y in (2023, 2024)]
    assert joined(some[0], 10).column_names == ["n", "name", "year"]


def test_a_partition_can_be_a_column_of_the_contract(tmp_path: Path) -> None:
    (tmp_path / "name=x").mkdir()
    pq.write_table(TABLE.select(["n", "other"]), tmp_path / "name=x" / "a.parquet")
    [part] = parts(tmp_path)
    assert joined(part, 1_000).column_names == ["n", "name"]


def test_a_changed_file_is_another(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pq.write_table(TABLE, path)
    [before], [again] = parts(path), parts(path)
    assert before.identity == again.identity
    pq.write_table(TABLE.slice(1), path)
    assert parts(path)[0].identity != before.identity


def test_what_is_no_file_is_one_part(tmp_path: Path) -> None:
    columns = {"sepal length (cm)": Column(type="number")}
    [part] = find_parts("sklearn://iris", tmp_path, columns)
    assert [batch.table.num_rows for batch in part.read(100)] == [100, 50]
    assert part.identity == find_parts("sklearn://iris", tmp_path, columns)[0].identity


@pytest.mark.parametrize(
    ("uri", "expected"),
    [("tabel.csv", "Did you mean 'table.csv'"), ("*.parquet", "there is no"), ("empty", "there is no")],
)
def test_what_is_not_there_is_refused(uri: str, expected: str, tmp_path: Path) -> None:
    pd.DataFrame({"n": [1]}).to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=expected):
        parts(tmp_path / uri)
