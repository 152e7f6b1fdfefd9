"""A target learnt as a logarithm: the same values come back, in the unit and the range of the contract."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.bundle import FittedModel
from millrace.contract import Target
from millrace.metrics import Outcome, compute_metrics
from millrace.models import TrainingRows
from millrace.scales import to_model, to_unit
from tests.millrace.cases import TARGETS, fit, make_problem, make_table

PRICE: dict[str, Any] = {"name": "y", "type": "number", "range": [0, None], "transform": "log"}


def target(**changes: Any) -> Target:
    return Target.model_validate(PRICE | changes)


@given(st.lists(st.floats(0, 1e30), min_size=1, max_size=20))
def test_values_come_back(values: list[float]) -> None:
    found = to_unit(to_model(np.array(values), target()), target())
    np.testing.assert_allclose(found, values, rtol=1e-12, atol=1e-12)


@given(
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=20),
    st.floats(0, 100),
    st.none() | st.floats(101, 1e6),
)
def test_whatever_a_model_says_is_finite_and_in_the_range(
    said: list[float], low: float, high: float | None
) -> None:
    found = to_unit(np.array(said), target(range=[low, high]))
    assert np.isfinite(found).all()
    assert (found >= low).all()
    assert high is None or (found <= high).all()
    order = np.argsort(said)
    assert (np.diff(found[order]) >= 0).all()


def test_without_a_transform_nothing_is_changed() -> None:
    plain, values = target(transform=None), np.array([-1e300, np.nan, 7.0])
    assert to_model(values, plain) is values
    assert to_unit(values, plain) is values


@pytest.mark.parametrize("transform", [None, "log"])
def test_predictions_are_in_the_unit_also_after_loading(
    kind: str, transform: str | None, tmp_path: Path
) -> None:
    table = make_table(rows=240)
    table = table.assign(y=1000 * np.exp(2 * table["y"]))
    problem = make_problem(target=TARGETS["regression"] | PRICE | {"transform": transform})
    rows = TrainingRows.of(table, problem)
    fitted = FittedModel(problem, rows.state, fit(kind, rows, size=60))
    predicted = fitted.predict(table)
    assert np.isfinite(predicted).all()
    assert 0.3 < np.median(predicted) / np.median(rows.target) < (3 if transform else 30)
    if transform:
        assert (predicted >= 0).all()
        assert compute_metrics(Outcome(problem, np.log(rows.target), np.log(predicted + 1)))["r2"] > 0.6
    fitted.save(tmp_path)
    assert FittedModel.load(tmp_path).predict(table).tobytes() == predicted.tobytes()
