"""How well the model predicts: measured where outcomes are known, estimated where they are late."""

from dataclasses import replace
from functools import partial

import numpy as np

from millrace.bundle import METRICS, Bundle
from millrace.evaluation import Evaluation
from millrace.metrics import (
    PRIMARY,
    Floats,
    Interval,
    Outcome,
    bootstrap_metrics,
    compute_metrics,
    from_mean_loss,
    losses,
)
from millrace.monitoring.baseline import Baseline
from millrace.monitoring.calibration import Counts, allowed, pairs
from millrace.monitoring.judging import too_few
from millrace.monitoring.settings import MonitoringSettings
from millrace.monitoring.verdict import Performance

# Bins of the prediction, within each of which the loss is taken to be what it was.
BINS = 10
# Labelled rows that are resampled at most.
RESAMPLED = 20_000


def holdout_metrics(bundle: Bundle) -> dict[str, Interval]:
    """What training measured on the whole holdout."""
    return Evaluation.model_validate(bundle.read(METRICS)["evaluation"]).metrics


def perform(
    baseline: Baseline,
    holdout: dict[str, Interval],
    labelled: Outcome,
    predicted: Floats,
    settings: MonitoringSettings,
) -> Performance:
    """The metrics of labelled rows, whether they are worse than before, and an estimate for all `predicted`.

    Decay is judged by the mean loss: performance has decayed if it is above the reference's by more than that
    of samples of this size, drawn from the reference, but for the share of false alarms.
    """
    task, rows = baseline.problem.task, len(labelled.target)
    few = too_few(rows, baseline.rows, settings.min_rows, "outcomes of judged rows")
    about = Performance(
        status="not enough data",
        why=few,
        metric_name=PRIMARY[task],
        labelled_rows=rows,
        metrics=_measured(labelled, settings) if rows > 1 else {},
        holdout=holdout,
        estimate=None
        if too_few(len(predicted), baseline.rows, settings.min_rows)
        else estimate(baseline.outcome, predicted, settings),
    )
    if few:
        return about
    decayed, p_value = decay(chance(baseline, rows, settings), baseline, labelled, settings.false_alarms)
    before, now = (float(from_mean_loss(losses(side).mean(), task)) for side in (baseline.outcome, labelled))
    return about.model_copy(
        update={
            "status": "decay" if decayed else "no decay",
            "why": f"{PRIMARY[task]} is {now:.4g}, of the reference {before:.4g}: "
            f"{'a' if decayed else 'no'} difference beyond chance.",
            "p_value": p_value,
        }
    )


def decay(chance: Floats, baseline: Baseline, labelled: Outcome, rate: float) -> tuple[bool, float]:
    """Whether the mean loss has risen beyond `chance`, and how often it rises as much without decay."""
    before, now = losses(baseline.outcome), losses(labelled)
    once = [np.ones((1, len(loss))) for loss in (now, before)]
    risen = float(_risen(once[0], now, once[1], before)[0])
    larger = len(chance) - int(np.searchsorted(chance, risen, side="left"))
    return bool(risen > chance[-allowed(len(chance), rate)]), (1 + larger) / (1 + len(chance))


def chance(baseline: Baseline, rows: int, settings: MonitoringSettings) -> Floats:
    """By how many standard errors samples' mean losses are above the reference's without decay, rising."""
    loss = losses(baseline.outcome)
    drawn = pairs(len(loss), rows, settings.bootstrap, settings.seed)
    return np.sort(np.concatenate([_risen(window, loss, other, loss) for window, other in drawn]))


def _risen(window: Counts | Floats, now: Floats, reference: Counts | Floats, before: Floats) -> Floats:
    """The difference of mean losses in its standard errors, for weights [draws, rows] of either side.

    Losses are skewed, and a sample with a low mean has little spread, too: the plain difference would
    alarm too often (the bootstrap-t: Efron and Tibshirani, 1993, section 12.5).
    """
    difference, variance = np.zeros(len(window)), np.zeros(len(window))
    for weights, loss, sign in ((window, now, 1), (reference, before, -1)):
        rows = weights.sum(axis=1, dtype=np.float64)
        mean = weights @ loss / rows
        difference += sign * mean
        variance += np.maximum(weights @ loss**2 / rows - mean**2, 0) / rows
    # Losses that are all the same have no error.
    risen: Floats = difference / np.sqrt(np.maximum(variance, np.finfo(float).tiny))
    return risen


def _measured(labelled: Outcome, settings: MonitoringSettings) -> dict[str, Interval]:
    """Every metric with its interval; of very many rows that of some, as much narrower as all are more.

    Intervals narrow with the root of the rows (Bickel, Götze and van Zwet, Statistica Sinica 7, 1997).
    """
    intervals = partial(
        bootstrap_metrics, resamples=settings.resamples, confidence=settings.confidence, seed=settings.seed
    )
    rows = len(labelled.target)
    if rows <= RESAMPLED:
        return intervals(labelled)
    some = np.random.default_rng(settings.seed).choice(rows, RESAMPLED, replace=False)
    part = replace(labelled, target=labelled.target[some], predicted=labelled.predicted[some])
    narrower = np.sqrt(RESAMPLED / rows)
    whole, found = compute_metrics(labelled), intervals(part)
    return {
        name: Interval(
            value=value,
            low=value + narrower * (found[name].low - found[name].value),
            high=value + narrower * (found[name].high - found[name].value),
        )
        for name, value in whole.items()
    }


def estimate(reference: Outcome, predicted: Floats, settings: MonitoringSettings) -> Interval:
    """The primary metric of rows with these predictions, were losses by prediction what they were.

    Post-stratification: the reference's mean loss in each tenth of its predictions (of classes, of the
    probability of the likeliest), weighted by the share of the predictions that lie there (Holt and Smith,
    Journal of the Royal Statistical Society A 142, 1979). The interval is the reference's chance only. Blind
    to what changes outcomes and not predictions.
    """
    task = reference.problem.task
    before, now = _sureness(reference.predicted), _sureness(predicted)
    edges = np.unique(np.quantile(before, np.arange(1, BINS) / BINS))
    places = np.searchsorted(edges, before, side="right")
    loss = losses(reference)
    shares = np.bincount(np.searchsorted(edges, now, side="right"), minlength=len(edges) + 1) / len(now)
    member = np.eye(len(edges) + 1)[places]

    def metric(weights: Floats) -> Floats:
        rows = weights @ member
        means = (weights * loss) @ member / np.maximum(rows, 1)
        # A bin that a resample has no row of is left out of it.
        there = (rows > 0) * shares
        total = (means * there).sum(axis=1) / np.maximum(there.sum(axis=1), 1e-12)
        return from_mean_loss(total, task)

    draws = [
        metric(w.astype(np.float64))
        for w, _ in pairs(len(loss), len(loss), settings.resamples, settings.seed)
    ]
    tail = (1 - settings.confidence) / 2
    low, high = np.quantile(np.concatenate(draws), [tail, 1 - tail])
    return Interval(value=float(metric(np.ones((1, len(loss))))[0]), low=float(low), high=float(high))


def _sureness(predicted: Floats) -> Floats:
    return predicted if predicted.ndim == 1 else predicted.max(axis=1)
