"""Intervals that hold while one looks: the formula, what it promises, and the size that it takes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from millrace.experiments.guardrails import MISMATCH, mismatch
from millrace.experiments.sequence import deviations, p_value, tuned, units_needed
from millrace.experiments.verdict import RIPE, is_whole, rule

ALPHAS = st.floats(0.001, 0.2)
PROGRESS = st.floats(1e-3, 50)


@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("progress", [0.05, 0.5, 1.0, 3.0])
def test_the_interval_ends_where_the_mixture_of_likelihood_ratios_is_one_in_alpha(
    alpha: float, progress: float
) -> None:
    """Robbins' mixture by numbers: of N(m, 1) a sum of t units beside N(0, 1), over m ~ N(0, rho^2)."""
    t = 100.0
    rho = math.sqrt(tuned(alpha) * progress / t)
    total = float(deviations(progress, alpha)) * math.sqrt(t)

    def ratio(mean: float) -> float:
        return math.exp(mean * total - mean**2 * t / 2) * float(norm.pdf(mean, scale=rho))

    found, _ = quad(ratio, -12 * rho - 2, 12 * rho + 2, points=[0, total / t], limit=200)
    assert found == pytest.approx(1 / alpha, rel=1e-6)


@given(ALPHAS, PROGRESS)
def test_it_is_narrowest_at_the_planned_size_and_always_wider_than_for_one_look(
    alpha: float, progress: float
) -> None:
    there = float(deviations(progress, alpha))
    assert float(deviations(1.0, alpha)) <= there * (1 + 1e-12)
    assert there > norm.ppf(1 - alpha / 2)


@given(ALPHAS, PROGRESS, st.floats(-10, 10), st.floats(1e-6, 100))
def test_the_p_value_is_below_alpha_where_the_interval_leaves_out_nothing(
    alpha: float, progress: float, value: float, variance: float
) -> None:
    half = float(deviations(progress, alpha)) * math.sqrt(variance)
    chance = p_value(value, variance, progress, alpha)
    assert 0 <= chance <= 1
    if abs(abs(value) - half) > 1e-9 * half:
        assert (chance < alpha) == (abs(value) > half)


@given(st.floats(0.01, 1), st.floats(0.01, 100), ALPHAS, st.floats(0.5, 0.99))
def test_a_smaller_effect_a_surer_answer_or_more_spread_takes_more(
    effect: float, spread: float, alpha: float, power: float
) -> None:
    needed = units_needed(effect, spread, alpha, power)
    assert units_needed(effect / 2, spread, alpha, power) >= needed
    assert units_needed(effect, 2 * spread, alpha, power) >= needed
    assert units_needed(effect, spread, alpha / 2, power) >= needed
    assert units_needed(effect, spread, alpha, min(power + 0.009, 0.999)) >= needed
    # More than for one look.
    once = spread * ((norm.ppf(1 - alpha / 2) + norm.ppf(power)) / effect) ** 2
    assert needed >= once


def test_to_look_as_one_likes_takes_two_thirds_more_than_to_look_once() -> None:
    once = ((norm.ppf(0.975) + norm.ppf(0.95)) / 0.1) ** 2
    assert units_needed(0.1, 1.0, 0.05, 0.95) / once == pytest.approx(1.69, abs=0.01)


def looked_at(
    draws: "np.random.Generator", kind: str, share: float, experiments: int, units: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Differences and variances after each unit [experiments, units], and units of the smaller arm."""
    shape = (experiments, units)
    loss = draws.standard_normal(shape) if kind == "even" else draws.exponential(size=shape)
    loss = np.exp(loss) if kind == "heavy" else loss
    chosen = draws.random(shape) < share
    means, variances, counts = [], [], []
    for mask in (~chosen, chosen):
        count = np.maximum(np.cumsum(mask, axis=1), 1)
        mean = np.cumsum(loss * mask, axis=1) / count
        square = np.cumsum(loss**2 * mask, axis=1) / count
        means.append(mean)
        variances.append(np.maximum(square - mean**2, 1e-300) / np.maximum(count - 1, 1))
        counts.append(np.cumsum(mask, axis=1))
    return means[1] - means[0], variances[0] + variances[1], np.minimum(*counts)


@pytest.mark.parametrize("kind", ["even", "skewed"])
@pytest.mark.parametrize("share", [0.5, 0.1])
def test_who_looks_after_each_unit_is_wrong_no_more_often_than_was_said(kind: str, share: float) -> None:
    """From the first hundred of either on, to twice the planned size of 3,000, at an alpha of 0.2."""
    alpha, planned = 0.2, 3_000
    difference, variance, fewest = looked_at(np.random.default_rng(7), kind, share, 400, 2 * planned)
    progress = np.arange(1, 2 * planned + 1) / planned
    errors = np.abs(difference) / np.sqrt(variance)
    enough = fewest >= 100
    wrong = (enough & (errors > deviations(progress, alpha))).any(axis=1)
    # Three standard errors of 400 experiments.
    assert wrong.mean() <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / 400)
    # A fixed interval is wrong in most of them.
    assert (enough & (errors > norm.ppf(1 - alpha / 2))).any(axis=1).mean() > 0.5


@pytest.mark.parametrize("share", [0.5, 0.1, 0.02])
def test_a_challenger_that_is_no_better_is_hardly_ever_promoted(share: float) -> None:
    """Losses like squared errors, looked at thirty times."""
    rng, alpha, experiments = np.random.default_rng(3), 0.05, 1_000
    planned = math.ceil(2_000 / (4 * share * (1 - share)))
    looks = np.linspace(0, planned, 31).astype(int)[1:]
    sums = np.zeros((experiments, 2, 3))
    promoted = np.zeros(experiments, bool)
    for before, after in zip([0, *looks], looks, strict=False):
        loss = rng.standard_normal((experiments, after - before)) ** 2
        chosen = rng.random(loss.shape) < share
        for arm, mask in enumerate((~chosen, chosen)):
            sums[:, arm] += np.stack(
                [mask.sum(axis=1), (loss * mask).sum(axis=1), (loss**2 * mask).sum(axis=1)], 1
            )
        count = np.maximum(sums[:, :, 0], 2)
        mean = sums[:, :, 1] / count
        variance = ((sums[:, :, 2] / count - mean**2) / (count - 1)).sum(axis=1)
        half = deviations(after / planned, alpha) * np.sqrt(variance)
        value = mean[:, 1] - mean[:, 0]
        enough = sums[:, :, 0].min(axis=1) >= 40
        found = rule(value - half, value + half, 0.5, enough, after / planned >= RIPE, False)
        promoted |= found == "better"
    assert promoted.mean() <= alpha


def test_the_rule_says_what_it_has_found() -> None:
    cases = [
        (-3, -1, True, True, False, "better"),
        (-3, -1, True, False, False, "open"),
        (-3, -1, False, True, False, "not enough data"),
        (1, 3, True, False, False, "worse"),
        (-0.4, 0.6, True, True, False, "no such effect"),
        (-0.6, 0.6, True, True, True, "not found"),
        (-0.6, 0.6, True, True, False, "open"),
    ]
    for low, high, enough, ripe, whole, expected in cases:
        assert str(rule(low, high, 0.5, enough, ripe, whole)) == expected
    assert not is_whole(99, 1.0, 100, 1.0)
    assert is_whole(100, 1.0, 100, 1.0)
    assert not is_whole(150, 2.0, 100, 1.0)
    assert is_whole(300, 2.0, 100, 1.0)


def test_shares_that_are_not_as_planned_are_found_and_others_are_not_however_often_one_looks() -> None:
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(200):
        chosen = np.cumsum(rng.random(2_000) < 0.1)
        alarms += any(
            mismatch(n - int(chosen[n - 1]), int(chosen[n - 1]), 0.1) < 0.05 for n in range(1, 2_001, 7)
        )
    assert alarms <= 200 * 0.05 + 3 * math.sqrt(200 * 0.05 * 0.95)
    assert mismatch(9_000, 1_000, 0.1) == 1
    assert mismatch(8_500, 1_500, 0.1) < MISMATCH
    assert mismatch(0, 0, 0.1) == 1
    assert mismatch(10_000_000, 0, 0.1) == 0
