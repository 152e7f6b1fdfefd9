"""The corrected resampled t-test."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from millrace.comparison import corrected_t_test

DIFFERENCES = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30).map(np.array)


def test_the_statistic_is_that_of_nadeau_and_bengio() -> None:
    differences = np.array([0.2, 0.1, -0.1, 0.3, 0.2])
    # Five folds: 1/5 + 20/80; the sample's variance is 0.023, its mean 0.14.
    by_hand = 0.14 / np.sqrt((0.2 + 0.25) * 0.023)
    assert corrected_t_test(differences, 0.2) == pytest.approx(stats.t.sf(by_hand, 4))


@given(DIFFERENCES)
def test_the_other_way_round_it_is_the_rest(differences: NDArray[np.float64]) -> None:
    p = corrected_t_test(differences, 0.2)
    assert 0 <= p <= 1
    assert corrected_t_test(-differences, 0.2) == pytest.approx(1 - p)


@given(DIFFERENCES)
def test_it_is_never_surer_than_the_plain_test(differences: NDArray[np.float64]) -> None:
    if len(differences) > 1 and differences.std() > 1e-6:
        plain = stats.ttest_1samp(differences, 0, alternative="greater").pvalue
        assert abs(corrected_t_test(differences, 0.2) - 0.5) <= abs(plain - 0.5) + 1e-9


@pytest.mark.parametrize(
    ("differences", "p"), [([0.0, 0.0, 0.0], 0.5), ([3.0], 0.5), ([1.0, 1.0], 0.0), ([-1.0, -1.0], 1.0)]
)
def test_without_spread_it_still_answers(differences: list[float], p: float) -> None:
    assert corrected_t_test(np.array(differences), 0.2) == p


def test_equal_candidates_rarely_differ_over_repeats() -> None:
    """Errors of one data set, folded again and again, are no new evidence."""
    rng = np.random.default_rng(0)
    found = plain = 0
    for _ in range(300):
        gaps = rng.normal(size=100)  # Per row, one candidate's loss less the other's: the truth is 0.
        folds = [gaps[part].mean() for _ in range(5) for part in np.split(rng.permutation(100), 5)]
        found += corrected_t_test(np.array(folds), 0.2) < 0.05
        plain += stats.ttest_1samp(folds, 0, alternative="greater").pvalue < 0.05
    assert found / 300 < 0.1
    assert plain / 300 > 0.2
