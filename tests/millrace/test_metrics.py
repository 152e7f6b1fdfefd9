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
    Outcome,
    bootstrap_metrics,
    calibration_error,
    compute_metrics,
    metrics_of,
    resample,
)
from tests.millrace.cases import make_problem

seeds = pytest.mark.parametrize("seed", range(5))


def guesses(seed: int, classes: int, rows: int = 200) -> tuple[Floats, Floats]:
    """A target and probabilities with some skill and, as they are rounded, some ties."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, classes, rows).astype(float)
    weights = rng.random((rows, classes)).round(2) + 0.01 + np.eye(classes)[target.astype(int)] * 0.4
    return target, weights / weights.sum(axis=1, keepdims=True)


def outcome_of(task: Task, target: Floats, predicted: Floats, threshold: float = 0.5) -> Outcome:
    """An outcome of the task's problem; of two classes with costs, so that every metric is there."""
    costs = {"costs": {"false_positive": 1, "false_negative": 4}} if task == "binary" else {}
    return Outcome(make_problem(task, **costs), target, predicted, threshold)


@seeds
def test_regression_metrics_agree_with_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    target, predicted = rng.normal(1e6, 1, size=100), rng.normal(1e6, 1, size=100)
    assert compute_metrics(outcome_of("regression", target, predicted)) == pytest.approx(
        {
            "rmse": reference.root_mean_squared_error(target, predicted),
            "mae": reference.mean_absolute_error(target, predicted),
            "r2": reference.r2_score(target, predicted),
        }
    )


@seeds
@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.9])
def test_binary_metrics_agree_with_scikit_learn(seed: int, threshold: float) -> None:
    target, chances = guesses(seed, 2)
    chance = chances[:, 1]
    labels = (chance >= threshold).astype(int)
    mistakes = reference.confusion_matrix(target, labels)
    assert compute_metrics(outcome_of("binary", target, chances, threshold)) == pytest.approx(
        {
            "log_loss": reference.log_loss(target, chances),
            "brier": reference.brier_score_loss(target, chance, scale_by_half=False),
            "roc_auc": reference.roc_auc_score(target, chance),
            "average_precision": reference.average_precision_score(target, chance),
            "accuracy": reference.accuracy_score(target, labels),
            "precision": reference.precision_score(target, labels),
            "recall": reference.recall_score(target, labels),
            "f1": reference.f1_score(target, labels),
            "cost": (mistakes[0, 1] + 4 * mistakes[1, 0]) / len(target),
        }
    )


@seeds
@pytest.mark.parametrize("classes", [3, 5])
def test_multiclass_metrics_agree_with_scikit_learn(seed: int, classes: int) -> None:
    target, chances = guesses(seed, classes)
    all_of, labels = list(range(classes)), chances.argmax(axis=1)
    assert compute_metrics(outcome_of("multiclass", target, chances)) == pytest.approx(
        {
            "log_loss": reference.log_loss(target, chances, labels=all_of),
            "brier": reference.brier_score_loss(target, chances, labels=all_of, scale_by_half=False),
            "roc_auc": reference.roc_auc_score(target, chances, multi_class="ovr", average="macro"),
            "accuracy": reference.accuracy_score(target, labels),
            "macro_f1": reference.f1_score(target, labels, average="macro"),
        }
    )


@pytest.mark.parametrize("task", METRICS)
def test_weights_are_rows_that_count_so_often(task: Task) -> None:
    target, predicted = guesses(1, 2 if task == "binary" else 3, rows=80)
    predicted = predicted[:, 0] if task == "regression" else predicted
    outcome = outcome_of(task, target, predicted, 0.4)
    for weights in resample(80, 20, seed=0):
        for counts, each in zip(weights, range(20), strict=True):
            rows = np.repeat(np.arange(80), counts.astype(int))
            drawn = compute_metrics(outcome_of(task, target[rows], predicted[rows], 0.4))
            found = {
                name: metric(outcome, weights)[each] for name, metric in metrics_of(outcome.problem).items()
            }
            assert found == pytest.approx(drawn)


def test_a_class_that_is_absent_is_left_out_of_roc_auc() -> None:
    target, chances = guesses(0, 3)
    present = target < 2
    areas = [reference.roc_auc_score(target[present] == c, chances[present, c]) for c in (0, 1)]
    found = compute_metrics(outcome_of("multiclass", target[present], chances[present]))
    assert found["roc_auc"] == pytest.approx(np.mean(areas))


def test_one_class_alone_cannot_be_ranked() -> None:
    found = compute_metrics(outcome_of("binary", np.zeros(5), np.full((5, 2), 0.5)))
    assert (found["roc_auc"], found["average_precision"], found["recall"]) == (0.5, 0.0, 0.0)


def test_a_target_that_does_not_vary_has_no_share_to_explain() -> None:
    predicted = np.array([1.0, 2.0, 3.0, 4.0])
    assert compute_metrics(outcome_of("regression", np.full(4, 0.1), predicted))["r2"] == 0.0


def test_a_certain_mistake_is_bad_but_finite() -> None:
    found = compute_metrics(outcome_of("binary", np.array([1.0]), np.array([[1.0, 0.0]])))
    assert 30 < found["log_loss"] < 40


def test_calibration_error_is_the_distance_of_what_was_said_from_what_was_so() -> None:
    chance, truth = np.array([0.1] * 10 + [0.75] * 10), np.arange(20) % 10 < 5
    # Half were so: 0.4 and 0.25 away.
    assert calibration_error(chance, truth) == pytest.approx(0.325)
    assert calibration_error(np.array([0.0, 1.0]), np.array([False, True])) == 0


@pytest.mark.parametrize("task", METRICS)
def test_a_perfect_prediction_scores_best(task: Task) -> None:
    target = np.array([0.0, 1.0, 1.0, 0.0] if task == "binary" else [0.0, 1.0, 2.0, 1.0])
    predicted = target if task == "regression" else np.eye(2 if task == "binary" else 3)[target.astype(int)]
    for name, value in compute_metrics(outcome_of(task, target, predicted)).items():
        assert value == pytest.approx(0.0 if name in LOWER_IS_BETTER else 1.0)
    assert PRIMARY[task] in LOWER_IS_BETTER


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(120):
        errors = rng.normal(scale=2.0, size=100)
        outcome = outcome_of("regression", np.zeros(100), errors)
        found = bootstrap_metrics(outcome, resamples=200, confidence=0.9, seed=trial)
        covered += found["rmse"].low <= 2.0 <= found["rmse"].high
    # The percentile interval is a little narrow at 100 rows; 0.03 more is two standard errors of 120 trials.
    assert 0.82 <= covered / 120 <= 0.95


def test_intervals_hold_the_point_widen_with_confidence_and_narrow_with_rows() -> None:
    target, chances = guesses(0, 3, rows=400)

    def width(rows: int, confidence: float) -> float:
        outcome = outcome_of("multiclass", target[:rows], chances[:rows])
        found = bootstrap_metrics(outcome, resamples=300, confidence=confidence, seed=1)
        assert all(interval.low <= interval.value <= interval.high for interval in found.values())
        return found["log_loss"].high - found["log_loss"].low

    assert width(400, 0.8) < width(400, 0.95)
    assert width(400, 0.9) < 0.7 * width(100, 0.9)


def test_an_interval_is_the_same_for_the_same_seed() -> None:
    target, chances = guesses(0, 2)
    one, same, other = (
        bootstrap_metrics(outcome_of("binary", target, chances), resamples=100, confidence=0.9, seed=seed)
        for seed in (1, 1, 2)
    )
    assert one == same != other


def test_resampling_draws_every_row_about_equally_often() -> None:
    counts = np.concatenate(list(resample(10, 2000, seed=0))).sum(axis=0)
    assert counts.sum() == 20_000
    assert np.all(np.abs(counts - 2000) < 200)


def test_one_row_has_an_interval_of_no_width() -> None:
    found = bootstrap_metrics(
        outcome_of("regression", np.ones(1), np.zeros(1)), resamples=100, confidence=0.9, seed=0
    )
    assert (found["mae"].low, found["mae"].value, found["mae"].high) == (1.0, 1.0, 1.0)
