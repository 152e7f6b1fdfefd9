"""Served rows are counted in the bins of the reference, whatever they are."""

from collections import Counter
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.bundle import REFERENCE, Bundle
from millrace.contract import Task
from millrace.features import encode
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
    spread = bins.spread(np.array(values, dtype=float))
    assert set(spread.counts) == set(bins.bins)
    assert spread.counts.total() == len(values)
    known = [value for value in values if value is not None]
    assert spread.counts["missing"] == len(values) - len(known)
    assert spread.sum == pytest.approx(sum(known), abs=1e-6)
    assert spread.squares == pytest.approx(sum(value**2 for value in known), rel=1e-9)
    # A value on an edge belongs below it, as in Prometheus' buckets.
    below = sum(spread.counts[str(number)] for number in range(1, 1 + len([e for e in edges if e <= 0])))
    assert not edges or 0 not in edges or below == sum(value <= 0 for value in known)


@given(codes=st.lists(st.sampled_from([0.0, 1.0, 2.0, np.nan]), min_size=1))
def test_names_are_counted_by_code(codes: list[float]) -> None:
    found = Names(("flat", "house", "boat")).spread(np.array(codes)).counts
    names = {0.0: "flat", 1.0: "house", 2.0: "boat"}
    assert +found == Counter(names.get(code, "missing") for code in codes)
    assert set(found) == {"flat", "house", "boat", "missing"}


def test_a_category_called_missing_is_one_bin() -> None:
    names = Names(("a", "missing"))
    assert names.bins == ("a", "missing")
    assert names.spread(np.array([0.0, 1.0, np.nan])).counts == {"a": 1, "missing": 2}


def test_predictions_are_counted_by_value_or_by_class() -> None:
    numbers = Reference((), {}, Numbers(np.array([2.0])))
    assert numbers.spread_predictions([1.0, 2.0, 3.0]).counts == {"1": 2, "2": 1, "missing": 0}
    classes = Reference((), {}, Names(("low", "high")))
    assert classes.spread_predictions(["high", "high"]).counts == {"low": 0, "high": 2, "missing": 0}


@pytest.mark.parametrize("task", TASKS)
def test_a_reference_has_a_tenth_in_each_bin_and_a_row_in_one(task: Task, tmp_path: Path) -> None:
    reference, problem = reference_of(task, tmp_path), make_problem(task)
    assert list(reference.inputs) == list(problem.inputs)
    shares = [*reference.shares.values(), reference.prediction_shares]
    assert [sum(share.values()) for share in shares] == pytest.approx([1.0] * 6)
    size = reference.shares["size"]
    tenths = [size[str(number)] / (1 - size["missing"]) for number in range(1, 11)]
    assert tenths == pytest.approx([0.1] * 10, abs=0.01)
    assert set(reference.shares["kind"]) == {"flat", "house", "boat", "missing"}
    built = reference.inputs["built"]
    assert built.spread(encode([datetime(1990, 1, 1), datetime(2100, 1, 1), None], "datetime")).counts == {
        **dict.fromkeys(built.bins, 0), "1": 1, "10": 1, "missing": 1
    }  # fmt: skip
    expected = ("low", "middle", "high", "missing") if task == "multiclass" else None
    assert expected is None or reference.prediction.bins == expected


def test_private_columns_are_not_counted(tmp_path: Path) -> None:
    assert "kind" not in reference_of("regression", tmp_path, private=True).inputs


def test_a_column_without_a_value_has_one_bin(tmp_path: Path) -> None:
    fitted, table = make_fitted("regression", "linear"), make_case("regression").table
    empty = table.assign(size=np.nan, built=pd.NaT, _prediction=1.0)
    empty.to_parquet(tmp_path / REFERENCE)
    reference = read_reference(Bundle(tmp_path, "d" * 64, fitted))
    assert reference.shares["size"] == {"1": 0.0, "missing": 1.0}
    assert reference.inputs["size"].spread(np.array([5.0, np.nan])).counts == {"1": 1, "missing": 1}
