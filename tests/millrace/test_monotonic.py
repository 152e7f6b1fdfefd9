"""Predictions never turn along the columns that the contract calls monotonic."""

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from millrace.bundle import FittedModel
from millrace.contract import Task
from millrace.models import MODELS, TrainingRows, fit_model, keeps_monotonic
from tests.millrace.cases import FEATURES, make_problem, make_table, settings

KEEPERS = [kind for kind in MODELS if keeps_monotonic(kind)]
BOUND = FEATURES | {
    "size": FEATURES["size"] | {"monotonic": "increasing"},
    "built": FEATURES["built"] | {"monotonic": "decreasing"},
}


@cache
def fitted(task: Task, kind: str, bound: bool) -> FittedModel:
    """A model of noise that rises and falls with `size` and `built`, with the promise or without."""
    problem = make_problem(task, features=BOUND if bound else FEATURES)
    table = make_table(task)
    noise = np.random.default_rng(5).normal(size=len(table)) + np.sin(3 * table["size"].fillna(0))
    target: Any = noise if task == "regression" else pd.array(noise > 0, dtype="boolean")
    rows = TrainingRows.of(table.assign(y=target), problem)
    model = fit_model(settings(kind, n_estimators=40), rows, seed=0, threads=1)
    return FittedModel(problem, rows.state, model)


def along(model: FittedModel, column: str, values: Any, row: int) -> Any:
    """What is predicted for one row as `column` takes these values."""
    table = make_table(rows=row + 1).iloc[[row] * len(values)].assign(**{column: values})
    predicted = model.predict(table)
    return predicted if predicted.ndim == 1 else predicted[:, 1]


@pytest.mark.parametrize("kind", KEEPERS)
@pytest.mark.parametrize("task", ["regression", "binary"])
@given(row=st.integers(0, 100), ends=st.tuples(st.floats(-5, 5), st.floats(-5, 5)), day=st.integers(0, 8000))
def test_predictions_never_turn(task: Task, kind: str, row: int, ends: tuple[float, float], day: int) -> None:
    model = fitted(task, kind, bound=True)
    sizes = along(model, "size", np.linspace(min(ends), max(ends), 9), row)
    assert (np.diff(sizes) >= -1e-12).all()
    days = pd.Timestamp("2000-01-01") + pd.to_timedelta(np.linspace(day, day + 900, 9).round(), "D")
    assert (np.diff(along(model, "built", days.as_unit("us"), row)) <= 1e-12).all()


@pytest.mark.parametrize("kind", KEEPERS)
def test_without_the_promise_they_do_turn(kind: str) -> None:
    found = along(fitted("regression", kind, bound=False), "size", np.linspace(-2, 2, 50), 3)
    assert (np.diff(found) > 0).any()
    assert (np.diff(found) < 0).any()


def test_columns_that_the_contract_does_not_name_are_free() -> None:
    made = {"kind": "product", "name": "area", "of": "floor", "by": "floor"}
    rows = TrainingRows.of(make_table(), make_problem(features=BOUND, transforms=[made]))
    assert dict(zip(rows.state.names, rows.monotonic, strict=True)) == {
        "size": 1, "floor": 0, "kind": 0, "lift": 0, "built": -1, "area": 0,
    }  # fmt: skip
    assert rows.take(np.arange(50)).monotonic == rows.monotonic


def test_kinds_that_promise_nothing_are_known() -> None:
    assert "lightgbm" in KEEPERS
    assert "linear" not in KEEPERS


@pytest.mark.parametrize(
    "transform",
    [
        {"kind": "log", "of": "size"},
        {"kind": "date_parts", "of": "built", "parts": ["year"]},
        {"kind": "neighbours", "by": {"size": 1}, "means": ["floor"]},
    ],
)
def test_what_models_could_turn_along_is_not_made_of_a_monotonic_column(
    transform: dict[str, Any],
) -> None:
    make_problem(transforms=[transform])
    with pytest.raises(ValidationError, match="is 'monotonic', and models could turn along"):
        make_problem(features=BOUND, transforms=[transform])


def test_means_over_neighbours_are_of_other_rows() -> None:
    near = {"kind": "neighbours", "by": {"floor": 1}, "means": ["size"], "counts": [5], "target": True}
    problem, table = make_problem(features=BOUND, transforms=[near]), make_table()
    rows = TrainingRows.of(table, problem)
    model = FittedModel(problem, rows.state, fit_model(settings("lightgbm"), rows, seed=0, threads=1))
    assert (np.diff(along(model, "size", np.linspace(-5, 5, 50), 7)) >= -1e-12).all()
