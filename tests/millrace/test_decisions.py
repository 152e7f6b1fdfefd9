"""Thresholds: none is cheaper on the rows it was chosen on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contract import Costs
from millrace.decisions import choose_threshold, cost_curve, decide

chances = st.floats(0, 1) | st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])
answered = st.lists(st.tuples(st.booleans(), chances), min_size=1, max_size=40)
prices = st.floats(0.01, 100)


def mean_cost(rows: list[tuple[bool, float]], threshold: float, costs: Costs) -> float:
    """The cost of a threshold, mistake by mistake."""
    labels = decide(np.array([[1 - chance, chance] for _, chance in rows]), threshold)
    by_row = [
        costs.false_positive * (label and not true) + costs.false_negative * (true and not label)
        for (true, _), label in zip(rows, labels, strict=True)
    ]
    return float(np.mean(by_row))


@given(answered, prices, prices)
def test_no_threshold_is_cheaper_than_the_chosen_one(
    rows: list[tuple[bool, float]], false_positive: float, false_negative: float
) -> None:
    costs = Costs(false_positive=false_positive, false_negative=false_negative)
    target, chance = np.array([float(true) for true, _ in rows]), np.array([chance for _, chance in rows])
    ours = mean_cost(rows, choose_threshold(target, chance, costs), costs)
    others = [0.0, *chance, *np.nextafter(chance, 2), costs.threshold]
    assert ours <= min(mean_cost(rows, float(other), costs) for other in others) + 1e-9


@given(answered, prices, prices)
def test_the_curve_tells_what_its_thresholds_cost(
    rows: list[tuple[bool, float]], false_positive: float, false_negative: float
) -> None:
    costs = Costs(false_positive=false_positive, false_negative=false_negative)
    target, chance = np.array([float(true) for true, _ in rows]), np.array([chance for _, chance in rows])
    thresholds, found = cost_curve(target, chance, costs)
    assert (np.diff(thresholds) >= 0).all()
    # Between neighbours that differ in the last bit there is nothing.
    apart = np.diff(np.unique(chance), prepend=-1, append=2) > 1e-12
    for threshold, cost in zip(thresholds[apart], found[apart], strict=True):
        assert cost == pytest.approx(mean_cost(rows, float(threshold), costs))


def test_where_nothing_is_gained_the_threshold_is_that_of_true_probabilities() -> None:
    target, chance = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.15, 0.8, 0.9])
    assert choose_threshold(target, chance, Costs(false_positive=1, false_negative=3)) == 0.25
    assert choose_threshold(target, chance, Costs(false_positive=1, false_negative=1)) == 0.5
    # As near as a threshold without a mistake comes to 1 / 20.
    assert choose_threshold(target, chance, Costs(false_positive=1, false_negative=19)) == pytest.approx(
        0.475
    )


def test_a_class_is_answered_from_the_threshold_on_and_the_likeliest_of_several() -> None:
    two = np.array([[0.8, 0.2], [0.7, 0.3], [0.1, 0.9]])
    assert decide(two, 0.3).tolist() == [0, 1, 1]
    assert decide(two, 0.5).tolist() == [0, 0, 1]
    assert decide(np.array([[0.2, 0.5, 0.3]]), 0.1).tolist() == [1]
