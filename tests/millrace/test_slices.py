"""Slices: their metrics, their intervals, and which one is called the worst."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contract import Problem
from millrace.metrics import Outcome, bootstrap_metrics
from millrace.slices import MIN_ROWS, MIN_ROWS_TO_JUDGE, Slice, groups, score, sentence, worst
from tests.millrace.cases import Case, make_fitted, make_problem

SEEDED = {"resamples": 400, "confidence": 0.9, "seed": 0}


def one_column(kind: str = "category", **more: Any) -> Problem:
    column = {"type": kind} | ({"categories": ["a", "b", "c"]} if kind == "category" else {})
    return make_problem(features={"part": {**column, **more}, "x": {"type": "number"}}, key=None)


def scored(parts: "pd.Series[Any]", errors: Any, **changes: Any) -> list[Slice]:
    """Slices by one column of a regression with these errors."""
    problem = one_column()
    outcome = Outcome(problem, np.zeros(len(parts)), np.asarray(errors, dtype=float))
    found = groups(pd.DataFrame({"part": parts, "x": 0.0}), problem)
    return score(outcome, [g for g in found if g.feature == "part"], **(SEEDED | changes))


def test_an_interval_is_that_of_the_slices_own_rows(case: Case) -> None:
    fitted = make_fitted(case.problem.task, "linear")
    outcome = Outcome(case.problem, case.rows.target, fitted.predict(case.table))
    found = groups(case.table, case.problem)
    for group, part in zip(found, score(outcome, found, **SEEDED), strict=True):
        assert part.low <= part.metric <= part.high
        own = Outcome(case.problem, outcome.target[group.rows], outcome.predicted[group.rows])
        name = "rmse" if case.problem.task == "regression" else "log_loss"
        alone = bootstrap_metrics(own, **SEEDED)[name]
        assert part.metric == pytest.approx(alone.value)
        # The number of its rows varies too when all are drawn; the interval is hardly another.
        width = alone.high - alone.low
        assert part.low == pytest.approx(alone.low, abs=0.35 * width)
        assert part.high == pytest.approx(alone.high, abs=0.35 * width)


@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=120))
def test_every_slice_has_the_mean_of_its_rows(values: list[str | None]) -> None:
    parts = pd.Series(values, dtype=object)
    errors = np.random.default_rng(0).normal(size=len(values))
    for part in scored(parts, errors, resamples=100):
        rows = parts.isna() if part.value == "missing" else parts == part.value
        assert part.rows == rows.sum() >= MIN_ROWS
        assert part.metric == pytest.approx(np.sqrt(np.mean(errors[rows] ** 2)))
        assert np.isfinite([part.low, part.high]).all()


def test_sensitive_columns_are_slices_though_no_inputs() -> None:
    problem = one_column(sensitive=True, input=False)
    table = pd.DataFrame({"part": ["a", "b"] * 30, "x": np.arange(60.0)})
    assert {group.feature for group in groups(table, problem)} == {"part", "x"}


def test_noise_is_not_crowned() -> None:
    rng = np.random.default_rng(1)
    sizes = {"a": 400, "b": 60, "c": MIN_ROWS_TO_JUDGE - 1}
    parts = pd.Series(np.repeat(list(sizes), list(sizes.values())), dtype=object)
    # Of b only three rows are bad, by much; c is worst of all, but too small to say.
    errors = rng.normal(size=len(parts)) * parts.map({"a": 1.5, "b": 0.3, "c": 9})
    errors[400:403] = 7.0
    found = scored(parts, errors)
    by_value = {part.value: part for part in found}
    assert by_value["b"].metric > by_value["a"].metric
    picked = worst(found)
    assert picked is not None
    assert picked.value == "a"
    # As soon as there are rows enough, c is named.
    more = pd.concat([parts, pd.Series(["c"])], ignore_index=True)
    again = worst(scored(more, np.append(errors, 9.0)))
    assert again is not None
    assert again.value == "c"


def test_the_worst_slice_is_named_in_a_sentence() -> None:
    parts = pd.Series(["a"] * 60 + ["b"] * 60, dtype=object)
    rng = np.random.default_rng(0)
    errors = rng.normal(size=120) * np.repeat([1.0, 3.0], 60)
    whole = float(np.sqrt(np.mean(errors**2)))
    said = sentence(scored(parts, errors), "rmse", whole)
    assert said.startswith("Worst: part b, rmse ")
    assert " times the whole." in said
    assert said.endswith("that may be chance.") is False
    even = rng.normal(size=120)
    assert sentence(scored(parts, even), "rmse", 1.2).endswith("times the whole; that may be chance.")
    assert "No slice" in sentence(scored(parts[:MIN_ROWS], even[:MIN_ROWS]), "rmse", 1.0)
    # A perfect model has no ratio.
    assert "times" not in sentence(scored(parts, np.zeros(120)), "rmse", 0.0)
