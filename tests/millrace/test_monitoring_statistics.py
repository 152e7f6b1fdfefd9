"""How far samples are apart: beside scipy, and whatever is counted in which order."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from millrace.monitoring.baseline import Source, Watched, _weights
from millrace.monitoring.calibration import allowed, calibrate, pairs
from millrace.monitoring.judging import _names, _numbers
from millrace.monitoring.statistics import (
    kolmogorov_surprise,
    likelihood_ratio,
    likelihood_ratio_surprise,
    total_variation,
)
from millrace.monitoring.tally import Cells

# Few different values, so that there are ties within and between samples.
TIED = st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0, 7.0]) | st.floats(-9, 9), min_size=1, max_size=40)
COUNTS = st.lists(st.integers(0, 50), min_size=3, max_size=3).filter(any)


def numbers(values: list[float]) -> Watched:
    return Watched("x", Source("x", "numeric"), 1.0, 1.0, np.array(values))


@given(TIED, TIED, st.integers(0, 40), st.integers(0, 3))
def test_the_distance_is_that_of_smirnov_s_test(
    reference: list[float], window: list[float], cut: int, gaps: int
) -> None:
    column = numbers([*reference, *[np.nan] * gaps])
    cells = Cells(column)
    # In pieces, as a log is read.
    for part in (window[:cut], window[cut:]):
        cells.add(np.array([*part, *[np.nan] * gaps]))
    distance, _ = _numbers(column, cells, len(reference))
    assert distance == pytest.approx(stats.ks_2samp(reference, window, method="asymp").statistic)
    assert (cells.known, cells.missing) == (len(window), 2 * gaps)


@pytest.mark.parametrize("distance", [0.001, 0.01, 0.05, 0.0671, 0.1, 0.2])
def test_surprise_is_the_logarithm_of_smirnov_s_p_value(distance: float) -> None:
    expected = -stats.kstwobign.logsf(distance * np.sqrt(1000 * 2000 / 3000))
    found = kolmogorov_surprise(np.array(distance), np.array(1000.0), np.array(2000.0))
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_surprise_has_no_end() -> None:
    found = kolmogorov_surprise(np.array([0.9, 1.0]), np.array(1e7), np.array(2e3))
    assert np.all(np.isfinite(found))
    assert found[1] > found[0] > 1000
    ratio = likelihood_ratio_surprise(np.array([5e2, 1e3, 2e3, 1e6]), 5)
    assert np.all(np.isfinite(ratio))
    assert np.all(np.diff(ratio) > 0)


@given(COUNTS, COUNTS)
def test_the_ratio_is_that_of_a_contingency_table(first: list[int], second: list[int]) -> None:
    ratio = float(likelihood_ratio(np.array(first, float), np.array(second, float)))
    table = np.array([first, second])
    table = table[:, table.sum(axis=0) > 0]
    expected = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")
    assert ratio == pytest.approx(expected.statistic, abs=1e-8)
    if table.shape[1] > 1:
        surprise = likelihood_ratio_surprise(np.array(ratio), table.shape[1] - 1)
        assert float(surprise) == pytest.approx(-np.log(expected.pvalue), abs=1e-6)


@given(COUNTS, COUNTS)
def test_total_variation_is_a_distance(first: list[int], second: list[int]) -> None:
    one, other = np.array(first), np.array(second)
    assert total_variation(one, other) == total_variation(other, one)
    assert 0 <= total_variation(one, other) <= 1
    assert total_variation(one, 3 * one) == pytest.approx(0)
    assert total_variation(np.array([1, 0]), np.array([0, 5])) == 1


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 3.0, np.nan]), min_size=1, max_size=60))
def test_names_are_counted_with_those_that_nobody_knows(codes: list[float]) -> None:
    column = Watched("k", Source("k", "category", ("a", "b", "c")), 1.0, 1.0, np.array([0.0, 1.0, 1.0]))
    cells = Cells(column)
    cells.add(np.array(codes))
    counted = Counter(code for code in codes if code == code)
    assert cells.named.tolist() == [counted[0.0], counted[1.0], counted[2.0]]
    assert (cells.unseen, cells.missing) == (counted[3.0], len(codes) - counted.total())
    distance, surprise = _names(column, cells)
    assert 0 <= distance <= 1
    assert surprise >= 0


@given(st.integers(100, 5000), st.sampled_from([0.001, 0.01, 0.05, 0.2]))
def test_a_threshold_is_exceeded_too_often_in_one_of_twenty_calibrations(draws: int, rate: float) -> None:
    # That is the chance that as few as so many draws are beyond the true quantile.
    place = allowed(draws, rate)
    assert place == 1 or stats.binom.cdf(place - 1, draws, rate) <= 0.05
    assert stats.binom.cdf(place, draws, rate) >= 0.05


@given(st.lists(st.floats(0, 100), min_size=1, max_size=12))
def test_weights_have_a_mean_of_one_and_leave_no_column_out(importance: list[float]) -> None:
    weights = _weights(importance)
    assert np.mean(weights) == pytest.approx(1)
    assert min(weights) >= 0.5
    assert np.argmax(weights) == np.argmax(importance)


def test_both_samples_are_drawn_from_the_reference() -> None:
    for rows in (30, 5000):
        drawn = list(pairs(50, rows, 8, seed=3))
        windows, references = (np.concatenate(side) for side in zip(*drawn, strict=True))
        assert (windows.sum(axis=1) == rows).all()
        assert (references.sum(axis=1) == 50).all()
        assert len(np.unique(references, axis=0)) == 8


def test_a_calibration_is_the_same_for_the_same_seed() -> None:
    rng = np.random.default_rng(0)
    columns = [numbers(list(rng.normal(size=150))), numbers(list(rng.integers(0, 3, 150).astype(float)))]

    def threshold(rows: int, seed: int) -> float:
        return calibrate(columns, rows, false_alarms=0.01, draws=400, seed=seed).threshold

    assert threshold(200, 1) == threshold(200, 1)
    assert threshold(200, 1) != threshold(200, 2)
    constant = [numbers([4.0] * 150)]
    # What never varies gives chance nothing to do; the rate is asked of it all the same.
    found = calibrate(constant, 200, false_alarms=0.01, draws=400, seed=0)
    assert found.threshold == pytest.approx(-np.log(0.01))
