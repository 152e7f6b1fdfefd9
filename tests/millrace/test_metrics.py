"""Our metrics against scikit-learn's, and intervals against what is known to be true."""

import numpy as np
import pytest
from sklearn import metrics as reference

from millrace.contract import Task
from millrace.metrics import (
    LOWER_IS_BETTER,
    METRICS,
    PRIMARY,
    Floats,
    accuracy,
    bootstrap_metrics,
    brier,
    compute_metrics,
    log_loss,
    mae,
    r2,
    resample,
    rmse,
    roc_auc,
)

seeds = pytest.mark.parametrize("seed", range(5))


def guesses(seed: int, classes: int, rows: int = 200) -> tuple[Floats, Floats]:
    """A target and probabilities with some skill and, as they are rounded, some ties."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, rows).astype(float)
    weights = rng.random((rows, classes)).round(2) + 0.01 + np.eye(classes)[target.astype(int)] * 0.4
    return target, weights / weights.sum(axis=1, keepdims=True)


@seeds
def test_regression_metrics_agree_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    target, predicted = rng.normal(size=100), rng.normal(size=100)
    assert rmse(target, predicted) == pytest.approx(reference.root_mean_squared_error(target, predicted))
    assert mae(target, predicted) == pytest.approx(reference.mean_absolute_error(target, predicted))
    assert r2(target, predicted) == pytest.approx(reference.r2_score(target, predicted))


@seeds
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_classification_metrics_agree_with_scikit_learn(seed: int, classes: int) -> None:
    target, chances = guesses(seed, classes)
    labels = list(range(classes))
    assert log_loss(target, chances) == pytest.approx(reference.log_loss(target, chances, labels=labels))
    assert accuracy(target, chances) == pytest.approx(
        reference.accuracy_score(target, chances.argmax(axis=1))
    )
    expected = reference.brier_score_loss(target, chances, labels=labels, scale_by_half=False)
    assert brier(target, chances) == pytest.approx(expected)


@seeds
def test_roc_auc_agrees_with_scikit_learn(seed: int) -> None:
    target, chances = guesses(seed, 2)
    assert roc_auc(target, chances) == pytest.approx(reference.roc_auc_score(target, chances[:, 1]))
    target, chances = guesses(seed, 4)
    expected = reference.roc_auc_score(target, chances, multi_class="ovr", average="macro")
    assert roc_auc(target, chances) == pytest.approx(expected)


def test_a_class_that_is_absent_is_left_out_of_roc_auc() -> None:
    target, chances = guesses(0, 3)
    present = target < 2
    areas = [reference.roc_auc_score(target[present] == c, chances[present, c]) for c in (0, 1)]
    assert roc_auc(target[present], chances[present]) == pytest.approx(np.mean(areas))


def test_one_class_alone_cannot_be_ranked() -> None:
    assert roc_auc(np.zeros(5), np.full((5, 2), 0.5)) == 0.5


def test_a_target_that_does_not_vary_has_no_share_to_explain() -> None:
    assert r2(np.ones(4), np.array([1.0, 2.0, 3.0, 4.0])) == 0.0


def test_a_certain_mistake_is_bad_but_finite() -> None:
    assert 30 < log_loss(np.array([1.0]), np.array([[1.0, 0.0]])) < 40


@pytest.mark.parametrize("task", METRICS)
def test_a_perfect_prediction_scores_best(task: Task) -> None:
    target = np.array([0.0, 1.0, 1.0, 0.0] if task == "binary" else [0.0, 1.0, 2.0, 1.0])
    predicted = target if task == "regression" else np.eye(2 if task == "binary" else 3)[target.astype(int)]
    for name, value in compute_metrics(task, target, predicted).items():
        assert value == pytest.approx(0.0 if name in LOWER_IS_BETTER else 1.0)
    assert PRIMARY[task] in LOWER_IS_BETTER


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(120):
        errors = rng.normal(scale=2.0, size=100)
        found = bootstrap_metrics(
            "regression", np.zeros(100), errors, resamples=200, confidence=0.9, seed=trial
        )
        covered += found["rmse"].low <= 2.0 <= found["rmse"].high
    # The percentile interval is a little narrow at 100 rows; 0.03 more is two standard errors of 120 trials.
    assert 0.82 <= covered / 120 <= 0.95


def test_intervals_hold_the_point_widen_with_confidence_and_narrow_with_rows() -> None:
    target, chances = guesses(0, 3, rows=400)

    def width(rows: int, confidence: float) -> float:
        found = bootstrap_metrics(
            "multiclass", target[:rows], chances[:rows], resamples=300, confidence=confidence, seed=1
        )
        assert all(interval.low <= interval.value <= interval.high for interval in found.values())
        return found["log_loss"].high - found["log_loss"].low

    assert width(400, 0.8) < width(400, 0.95)
    assert width(400, 0.9) < 0.7 * width(100, 0.9)


def test_an_interval_is_the_same_for_the_same_seed() -> None:
    target, chances = guesses(0, 2)
    one, same, other = (
        bootstrap_metrics("binary", target, chances, resamples=100, confidence=0.9, seed=seed)
        for seed in (1, 1, 2)
    )
    assert one == same != other


def test_resampling_draws_every_row_about_equally_often() -> None:
    counts = np.bincount(np.concatenate(list(resample(10, 2000, seed=0))), minlength=10)
    assert counts.sum() == 20_000
    assert np.all(np.abs(counts - 2000) < 200)


def test_one_row_has_an_interval_of_no_width() -> None:
    found = bootstrap_metrics("regression", np.ones(1), np.zeros(1), resamples=100, confidence=0.9, seed=0)
    assert (found["mae"].low, found["mae"].value, found["mae"].high) == (1.0, 1.0, 1.0)
