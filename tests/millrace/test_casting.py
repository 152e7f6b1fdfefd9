"""From any spelling of a value to the contract's type, the same from CSV and from Parquet."""

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.casting import UNREADABLE, cast
from millrace.contract import Problem
from millrace.digests import BLOCK, table_digest
from millrace.errors import UserError
from millrace.sources import read
from tests.millrace.cases import make_problem, make_table

DAY = dt.datetime(2020, 1, 1)


def one_column(column: dict[str, Any]) -> Problem:
    """A problem whose feature `x` is this column."""
    return make_problem(features={"x": {"nullable": True, **column}, "z": {"type": "number"}}, key=None)


def told(bronze: pd.DataFrame) -> list[str | None]:
    """What is unreadable in each row, None where nothing is."""
    return [None if pd.isna(text) else text for text in bronze[UNREADABLE]]


def casted(values: Any, **column: Any) -> tuple[list[Any], list[str | None]]:
    """The values of column `x` and what was unreadable, with None for every kind of null."""
    array = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)
    rest = [float(i) for i in range(len(array))]
    bronze = cast(pa.table({"x": array, "y": rest, "z": rest}), one_column(column), "the table")
    return [None if pd.isna(value) else value for value in bronze["x"]], told(bronze)


def serialised(cells: list[float | None]) -> pa.Buffer:
    """A table of column `x` as Arrow's stream of bytes."""
    table, stream = pa.table({"x": pa.array(cells, pa.float64())}), pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return pa.py_buffer(stream.getvalue().to_pybytes())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", " 2.5 ", "-3e2", ".5", "+1"], [1.0, 2.5, -300.0, 0.5, 1.0]),
        ([1, None, 2], [1.0, None, 2.0]),
        ([Decimal("1.5"), None], [1.5, None]),
        (["inf", "-Infinity", "1e999"], [np.inf, -np.inf, np.inf]),
        (["", "NA", "nan", "null", "None", "#N/A", None], [None] * 7),
        (pa.array(["1.5", None]).dictionary_encode(), [1.5, None]),
        (pa.array([b"1.5", None]), [1.5, None]),
        (pa.array(["1.5"], pa.large_string()), [1.5]),
        (pa.array(["1.5"], pa.string_view()), [1.5]),
        (pa.array([1.5], pa.float32()), [1.5]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_numbers_are_read_from_what_holds_numbers(values: Any, expected: list[float | None]) -> None:
    assert casted(values, type="number") == (expected, [None] * len(expected))


@pytest.mark.parametrize(
    "value",
    [
        "x",
        "1,000",
        "1_000",
        "0x10",
        "12 m",
        "\uff11\uff12",
        "True",
        True,
        DAY,
        DAY.date(),
        dt.timedelta(1),
        [1.0],
        {"a": 1},
    ],
)
@pytest.mark.parametrize("kind", ["number", "integer"])
def test_what_is_no_number_is_unreadable(value: Any, kind: str) -> None:
    values, unreadable = casted([value, None], type=kind)
    assert values == [None, None]
    assert unreadable[0] is not None
    assert unreadable[0].endswith(f"is not {'an integer' if kind == 'integer' else 'a number'}")
    assert unreadable[1] is None


def test_an_integer_has_no_fraction() -> None:
    values, unreadable = casted(["1", "1.0", "1.5", "inf"], type="integer")
    assert values == [1.0, 1.0, None, np.inf]
    assert unreadable == [None, None, "x: '1.5' is not an integer", None]


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=20))
def test_rubbish_in_a_column_changes_no_other_number(values: list[float]) -> None:
    clean, _ = casted([repr(value) for value in values], type="number")
    beside, _ = casted([*map(repr, values), "rubbish"], type="number")
    assert clean == values
    assert beside == [*values, None]


def test_a_minus_zero_is_a_zero() -> None:
    values, _ = casted(["-0.0", "0"], type="number")
    assert np.signbit(values).tolist() == [False, False]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["true", "FALSE", " Yes ", "n", "1", "0.0", ""], [True, False, True, False, True, False, None]),
        ([True, None, False], [True, None, False]),
        ([1, 0, None], [True, False, None]),
        ([1.0, 0.0, None], [True, False, None]),
        (pa.array(["yes", None]).dictionary_encode(), [True, None]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_booleans_are_read_from_their_usual_spellings(values: Any, expected: list[bool | None]) -> None:
    assert casted(values, type="boolean") == (expected, [None] * len(expected))


@pytest.mark.parametrize("value", ["maybe", 2, -1, 0.5, DAY, [True]])
def test_what_is_no_boolean_is_unreadable(value: Any) -> None:
    values, unreadable = casted([value], type="boolean")
    assert values == [None]
    assert unreadable[0] is not None
    assert unreadable[0].endswith("is not a boolean")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["2020-01-01", "2020-01-01 00:00", "2020-01-01T00:00:00Z", " 20200101 "], [DAY] * 4),
        (["2020-01-01T02:00+02:00", "2019-12-31T19:00:00-05:00"], [DAY] * 2),
        (["2020-01-01T00:00:00.000000999", None, ""], [DAY, None, None]),
        (["9999-12-31", "0001-01-01"], [dt.datetime(9999, 12, 31), dt.datetime(1, 1, 1)]),
        ([dt.date(2020, 1, 1), dt.date(9999, 12, 31), None], [DAY, dt.datetime(9999, 12, 31), None]),
        (pa.array([DAY, None], pa.timestamp("s")), [DAY, None]),
        (pa.array([DAY, None], pa.timestamp("ns")), [DAY, None]),
        (pa.array([DAY], pa.timestamp("us", tz="Europe/Berlin")), [DAY]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_datetimes_are_read_as_utc(values: Any, expected: list[dt.datetime | None]) -> None:
    found, unreadable = casted(values, type="datetime")
    assert found == [moment and pd.Timestamp(moment).as_unit("us") for moment in expected]
    assert unreadable == [None] * len(expected)


@pytest.mark.parametrize(
    "value",
    [
        "01/02/2020",
        "2020-02-30",
        "now",
        "today",
        "1700000000",
        "2020",
        1_700_000_000,
        2020,
        1.5,
        True,
        dt.time(1),
    ],
)
def test_what_is_no_datetime_is_unreadable(value: Any) -> None:
    values, unreadable = casted([value], type="datetime")
    assert values == [None]
    assert unreadable[0] is not None
    assert unreadable[0].endswith("is not a datetime")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", " 2 ", "3"], ["1", "2", "3"]),
        ([1, 2, None], ["1", "2", None]),
        ([1.0, 2.0, None], ["1", "2", None]),
        (["1.0", "2.0", ""], ["1", "2", None]),
        (pa.array([1, None]).dictionary_encode(), ["1", None]),
        (pa.array([b"1", None]), ["1", None]),
        (["None", "NA", "", "nan"], ["None", None, None, None]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_categories_are_text_whatever_they_were(values: Any, expected: list[str | None]) -> None:
    found, unreadable = casted(values, type="category", categories=["1", "2", "3", "None"])
    assert found == expected
    assert unreadable == [None] * len(expected)


def test_a_category_that_looks_like_a_number_keeps_its_spelling() -> None:
    found, _ = casted(["1.0", "1", "01"], type="category", categories=["1.0", "1", "01"])
    assert found == ["1.0", "1", "01"]


def test_ids_keep_every_digit() -> None:
    assert casted(["007", "7", "1.0"], type="id")[0] == ["007", "7", "1.0"]
    assert casted([2**60 + 1, 2**60 + 2, None], type="id")[0] == [str(2**60 + 1), str(2**60 + 2), None]


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(UserError, match="the column 'x' holds bytes that are not UTF-8"):
        casted(pa.array([b"\xff"]), type="id")


def test_every_unreadable_cell_of_a_row_is_told() -> None:
    raw = pa.table({"x": ["a", "1"], "z": ["b", "x" * 99], "y": ["1", "2"]})
    found = told(cast(raw, one_column({"type": "number"}), "t"))
    assert found == ["x: 'a' is not a number; z: 'b' is not a number", f"z: '{'x' * 40}' is not a number"]


def test_what_is_unreadable_is_told_of_its_row_in_a_long_table() -> None:
    cells = np.full(2 * BLOCK + 3, "1", dtype=object)
    bad = [0, BLOCK - 1, BLOCK, 2 * BLOCK + 2]
    cells[bad] = "bad"
    _, found = casted(pa.array(cells), type="number")
    assert [row for row, text in enumerate(found) if text is not None] == bad


# In one piece it may be cast where it lies, in several it is copied, as Arrow lets no one write to the last.
@pytest.mark.parametrize(
    "hold",
    [
        lambda cells: pa.array(cells, pa.float64()),
        lambda cells: pa.array([9.0, *cells, None], pa.float64()).slice(1, len(cells)),
        lambda cells: pa.chunked_array([cells[:1], cells[1:]], pa.float64()),
        lambda cells: pa.ipc.open_stream(serialised(cells)).read_all()["x"],
    ],
)
@pytest.mark.parametrize("cells", [[-0.0, None, 1.5, float("nan"), -float("inf")], [None] * 5, [2.5] * 5])
def test_floats_are_cast_alike_however_they_lie_in_memory(cells: list[float | None], hold: Any) -> None:
    raw = hold(cells)
    assert casted(raw, type="number")[0] == [None if value != value else value for value in cells]
    assert raw.is_null().to_pylist() == [value is None for value in cells]


def test_a_column_of_nulls_alone_stays_one_of_nulls() -> None:
    # The values and the bits that say which are null are here the same zeros.
    raw = pa.nulls(9, pa.float64())
    assert casted(raw, type="number")[0] == [None] * 9
    assert raw.null_count == 9
    assert raw.is_null().to_pylist() == [True] * 9


def test_minus_zero_is_zero_in_place_too() -> None:
    bronze = cast(
        pa.table({"x": [-0.0], "z": [1.0], "y": [1.0]}), one_column({"type": "number"}), "the table"
    )
    assert not np.signbit(bronze["x"]).any()


def test_a_table_has_the_columns_of_the_contract_in_its_order() -> None:
    raw = pa.table({"y": [1.0], "spare": ["s"], "z": [2.0], "x": [3.0]})
    bronze = cast(raw, one_column({"type": "number"}), "t")
    assert list(bronze.columns) == ["x", "z", "y", UNREADABLE]
    assert bronze.index.equals(pd.RangeIndex(1))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (pa.table({"x": [1.0], "z": [1.0]}), "t: the target 'y' of problem 'homes' is missing."),
        (
            pa.table({"X": [1.0], "z": [1.0], "y": [1.0]}),
            "the column 'x' of problem 'homes' is missing. Did you mean 'X'?",
        ),
        (
            pa.table({"a": [1.0], "y": [1.0]}),
            "the columns 'x', 'z' of problem 'homes' are missing. The table has: a, y.",
        ),
        (pa.table([[1.0]] * 4, ["x", "x", "y", "z"]), "the column 'x' stands in the header twice"),
        (pa.table({"x": [], "z": [], "y": []}), "t: has a header but no rows."),
    ],
)
def test_a_table_of_another_shape_is_refused(raw: pa.Table, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        cast(raw, one_column({"type": "number"}), "t")
    assert expected in str(caught.value)


def test_a_spare_column_may_be_there_twice() -> None:
    assert (
        len(cast(pa.table([[1.0]] * 5, ["x", "y", "z", "s", "s"]), one_column({"type": "number"}), "t")) == 1
    )


def test_column_names_may_be_of_any_script() -> None:
    problem = make_problem(
        features={"größe [m²]": {"type": "number"}, "大きさ": {"type": "number"}}, key=None
    )
    bronze = cast(pa.table({"größe [m²]": ["1"], "大きさ": ["zwei"], "y": ["3"]}), problem, "t")
    assert told(bronze) == ["大きさ: 'zwei' is not a number"]


def test_a_table_of_one_row_is_cast() -> None:
    assert casted(["1"], type="number") == ([1.0], [None])


@pytest.mark.parametrize("task", ["regression", "binary", "multiclass"])
@pytest.mark.parametrize("writer", ["arrow", "pandas"])
def test_the_same_table_from_csv_and_parquet_has_the_same_digest(
    tmp_path: Path, task: Any, writer: str
) -> None:
    table = make_table(task)
    arrow = pa.Table.from_pandas(table)
    pq.write_table(arrow, tmp_path / "t.parquet")
    if writer == "arrow":
        pa_csv.write_csv(arrow, tmp_path / "t.csv")
    else:
        table.to_csv(tmp_path / "t.csv", index=False)
    problem = make_problem(task)
    uris = [str(tmp_path / "t.csv"), str(tmp_path / "t.parquet")]
    csv, parquet = (cast(read(uri, tmp_path).table, problem, uri) for uri in uris)
    pd.testing.assert_frame_equal(csv, parquet)
    assert table_digest(csv) == table_digest(parquet)


def test_one_bad_cell_in_california_housing_changes_one_row(
    housing: Path, tmp_path: Path, problems: Path
) -> None:
    from millrace.contract import load_problem
    from millrace.digests import row_digests

    problem = load_problem("california_housing", problems)
    lines = housing.read_text().splitlines()
    lines[1] = lines[1].replace("8.3252", "eight")
    (tmp_path / "bad.csv").write_text("\n".join(lines))
    uris = [str(housing), str(tmp_path / "bad.csv")]
    good, bad = (cast(read(uri, tmp_path).table, problem, uri)[list(problem.columns)] for uri in uris)
    assert np.flatnonzero(row_digests(good) != row_digests(bad)).tolist() == [0]
