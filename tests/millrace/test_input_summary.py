"""Served rows are counted in the bins of the reference, whatever they are."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.bundle import REFERENCE, Bundle
from millrace.contract import Task
from millrace.input_summary import Names, Numbers, Reference, read_reference
from tests.millrace.cases import FEATURES, TASKS, make_case, make_fitted, make_problem

numbers = st.none() | st.floats(-1e6, 1e6)


def reference_of(task: Task, folder: Path, private: bool = False) -> Reference:
    """The reference of a bundle whose sample is a task's own table."""
    fitted, table = make_fitted(task, "linear"), make_case(task).table
    table.assign(**fitted.columns(fitted.predict(table))).to_parquet(folder / REFERENCE)
    if private:
        problem = make_problem(task, features=FEATURES | {"kind": FEATURES["kind"] | {"private": True}})
        fitted = type(fitted)(problem, fitted.state, fitted.model)
    return read_reference(Bundle(folder, "d" * 64, fitted))


@given(values=st.lists(numbers, min_size=1), edges=st.sets(st.integers(-5, 5), max_size=9))
def test_every_number_is_in_one_bin(values: list[float | None], edges: set[int]) -> None:
    bins = Numbers(np.array(sorted(edges), dtype=float))
    spread = bins.spread(values)
    assert set(spread.counts) == set(bins.bins)
    assert spread.counts.total() == len(values)
    known = [value for value in values if value is not None]
    assert spread.counts["missing"] == len(values) - len(known)
    assert spread.sum == pytest.approx(sum(known), abs=1e-6)
    assert spread.squares == pytest.approx(sum(value**2 for value in known), rel=1e-9)
    # A value on an edge belongs below it, as in Prometheus' buckets.
    below = sum(spread.counts[str(number)] for number in range(1, 1 + len([e for e in edges if e <= 0])))
    assert not edges or 0 not in edges or below == sum(value <= 0 for value in known)


def test_names_are_counted_by_name_and_strangers_together() -> None:
    spread = Names(("flat", "house")).spread(["flat", None, "castle", "flat", "tent"])
    assert dict(spread.counts) == {"flat": 2, "missing": 1, "other": 2}
    assert dict(Names(("false", "true")).spread([True, False, None, True]).counts) == {
        "true": 2, "false": 1, "missing": 1
    }  # fmt: skip


def test_a_category_called_other_is_one_bin() -> None:
    assert Names(("a", "other")).bins == ("a", "other", "missing")


@pytest.mark.parametrize("task", TASKS)
def test_a_reference_has_a_tenth_in_each_bin_and_a_row_in_one(task: Task, tmp_path: Path) -> None:
    reference, problem = reference_of(task, tmp_path), make_problem(task)
    assert list(reference.inputs) == list(problem.inputs)
    shares = [*reference.shares.values(), reference.prediction_shares]
    assert [sum(share.values()) for share in shares] == pytest.approx([1.0] * 6)
    size = reference.shares["size"]
    tenths = [size[str(number)] / (1 - size["missing"]) for number in range(1, 11)]
    assert tenths == pytest.approx([0.1] * 10, abs=0.01)
    assert set(reference.shares["kind"]) == {"flat", "house", "boat", "other", "missing"}
    built = reference.inputs["built"]
    assert built.spread([datetime(1990, 1, 1), datetime(2100, 1, 1), None]).counts == {
        **dict.fromkeys(built.bins, 0), "1": 1, "10": 1, "missing": 1
    }  # fmt: skip
    expected = ("low", "middle", "high", "other", "missing") if task == "multiclass" else None
    assert expected is None or reference.prediction.bins == expected


def test_private_columns_are_not_counted(tmp_path: Path) -> None:
    assert "kind" not in reference_of("regression", tmp_path, private=True).inputs


def test_a_column_without_a_value_has_one_bin(tmp_path: Path) -> None:
    fitted, table = make_fitted("regression", "linear"), make_case("regression").table
    empty = table.assign(size=np.nan, built=pd.NaT, _prediction=1.0)
    empty.to_parquet(tmp_path / REFERENCE)
    reference = read_reference(Bundle(tmp_path, "d" * 64, fitted))
    assert reference.shares["size"] == {"1": 0.0, "missing": 1.0}
    assert reference.inputs["size"].spread([5.0, None]).counts == {"1": 1, "missing": 1}
