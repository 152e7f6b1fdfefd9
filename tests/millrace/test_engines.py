"""Great Expectations and polars find the same on the same data, whatever is wrong with it."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.casting import cast
from millrace.quality import (
    GREAT_EXPECTATIONS_ROWS,
    Suite,
    bronze_suite,
    engine_for,
    gold_suite,
    leakage_suite,
    run_suite,
    silver_suite,
)
from millrace.quality.by_polars import once
from tests.millrace.cases import TASKS, make_case, make_problem

# Cells as text: good, missing, unreadable, out of range, infinite, unknown; few, so that rows repeat.
CELLS = {
    "size": ["1", "-0.0", "0", "100.5", "inf", "-inf", "1e300", "x", ""],
    "floor": ["1", "2", "2.5", "1e300", ""],
    "kind": ["flat", "house", "castle", "ein Schloß " * 9, ""],
    "lift": ["yes", "no", "maybe", ""],
    "built": ["2020-01-01", "1999-12-31T23:59:59.5", "soon", ""],
    "id": ["a", "b", "c", ""],
}
TARGETS = {
    "regression": ["1", "2.5", "-1e300", "none", ""],
    "binary": ["true", "false", "1", "maybe", ""],
    "multiclass": ["low", "high", "highest", ""],
}
GOLD = [0.0, -0.0, 1.0, 0.999, 0.9990000001, np.nan, np.inf, -np.inf, 1.7e308]


def agree(table: pd.DataFrame, suite: Suite) -> None:
    """Every field of every outcome is the same."""
    found = run_suite(table, suite, "test", "polars")
    expected = run_suite(table, suite, "test", "Great Expectations")
    assert [check.model_dump() for check in found] == [check.model_dump() for check in expected]


@st.composite
def raw_tables(draw: st.DrawFn) -> tuple[Any, pa.Table]:
    """A problem, and a table of text with the faults that a problem's table can have."""
    task = draw(st.sampled_from(TASKS))
    kinds = {**CELLS, "y": TARGETS[task]}
    row = st.fixed_dictionaries({name: st.sampled_from(cells) for name, cells in kinds.items()})
    rows = draw(st.lists(row, min_size=1, max_size=30))
    for name in draw(st.sets(st.sampled_from(sorted(kinds)), max_size=2)):
        rows = [{**row, name: ""} for row in rows]
    return make_problem(task), pa.Table.from_pylist(rows)


@settings(max_examples=25)
@given(raw_tables(), st.sampled_from([0.0, 0.05, 0.3, 0.5]), st.integers(1, 40))
def test_both_engines_find_the_same_in_what_came_in(raw: Any, limit: float, min_rows: int) -> None:
    problem, table = raw
    bronze = cast(table, problem, "t")
    agree(bronze, bronze_suite(problem, min_rows, limit))
    agree(bronze.drop(columns="size"), bronze_suite(problem, min_rows, limit)[:3])
    agree(bronze[list(problem.columns)], silver_suite(problem))


@settings(max_examples=15)
@given(st.lists(st.sampled_from(GOLD), min_size=6, max_size=60))
def test_both_engines_find_the_same_in_features(values: list[float]) -> None:
    state = make_case("regression").state
    names = [*state.names, "_target"]
    matrix = np.resize(np.array(values), (len(values), len(names)))
    table = pd.DataFrame(matrix, columns=names)
    agree(table, gold_suite(state))
    agree(table.head(1), leakage_suite(state))


def test_columns_of_other_types_are_found_alike() -> None:
    problem = make_problem()
    bronze = cast(
        pa.table({name: [cells[0]] * 3 for name, cells in CELLS.items()} | {"y": ["1"] * 3}), problem, "t"
    )
    for name in problem.columns:
        for other in (1, 1.5, True, "text", None, pd.Timestamp("2020-01-01")):
            agree(bronze.assign(**{name: other}), bronze_suite(problem, 1, 0.05))


def test_one_column_does_not_wait_for_what_is_found_out_about_another() -> None:
    both = Barrier(2, timeout=30)

    class Column:
        @once
        def looked_at(self) -> int:
            return both.wait()

    columns = Column(), Column()
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda column: column.looked_at, columns))
    assert sorted(found) == [0, 1]
    assert [column.looked_at for column in columns] == found


def test_great_expectations_checks_tables_up_to_a_size_and_polars_those_beyond() -> None:
    rows = np.zeros(GREAT_EXPECTATIONS_ROWS + 1)
    assert engine_for(pd.DataFrame({"a": rows[1:]})) == "Great Expectations"
    assert engine_for(pd.DataFrame({"a": rows})) == "polars"
