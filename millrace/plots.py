"""Plots as PNG bytes, drawn off screen."""

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from millrace.contract import Costs, Problem
from millrace.decisions import cost_curve
from millrace.explanation import Contributions
from millrace.intervals import DEFAULT as LEVEL
from millrace.intervals import SHOWN, Intervals, holds
from millrace.metrics import (
    BINS,
    LOWER_IS_BETTER,
    Outcome,
    calibration_error,
    compute_metrics,
    reliability,
)
from millrace.tuning import TuningResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#2563a8", "#d9822b", "#8a8f98"
TOP_FEATURES = 3
BAND_ROWS = 150


def evaluation_plots(outcome: Outcome, out_of_fold: Outcome | None = None) -> dict[str, bytes]:
    """Residuals for regression; calibration, confusion and, of two classes, ROC and precision for classes.

    With `costs` also their curve, over the out-of-fold rows that the threshold was chosen on.
    """
    problem = outcome.problem
    if problem.task == "regression":
        return {"residuals": _residuals(outcome)}
    plots = {"calibration": _calibration(outcome), "confusion": _confusion(outcome)}
    if problem.task == "binary":
        plots |= {"roc": _roc(outcome), "precision_recall": _precision_recall(outcome)}
    if problem.costs and out_of_fold:
        plots["cost"] = _cost(outcome, out_of_fold, problem.costs)
    return plots


def interval_plot(outcome: Outcome, intervals: Intervals) -> bytes:
    """A sample of rows with their intervals, in the order of the predictions; or how large sets are."""
    if outcome.problem.classes:
        return _set_sizes(outcome, intervals)
    target, rows = outcome.problem.target, len(outcome.target)
    sample = np.random.default_rng(0).permutation(rows)[:BAND_ROWS]
    sample = sample[np.argsort(outcome.predicted[sample], kind="stable")]
    places, actual, predicted = np.arange(len(sample)), outcome.target[sample], outcome.predicted[sample]
    low, high = intervals.bounds(predicted, target, LEVEL).T
    held = (low <= actual) & (actual <= high)
    figure, axes = _figure(8, 4.2)
    # What has no end is drawn as far as there is anything to see.
    seen = np.concatenate([actual, predicted])
    low, high = np.where(np.isinf(low), seen.min(), low), np.where(np.isinf(high), seen.max(), high)
    band = {"step": "mid", "color": BLUE, "alpha": 0.2, "linewidth": 0}
    axes.fill_between(places, low, high, label=f"{LEVEL:.0%} interval", **band)
    axes.step(places, predicted, where="mid", color=BLUE, linewidth=1.2, label="predicted")
    axes.plot(places[held], actual[held], "o", color=GREY, markersize=3.5, label="actual, inside")
    axes.plot(places[~held], actual[~held], "D", color=ORANGE, markersize=4.5, label="actual, outside")
    axes.set_xlabel(f"{len(sample)} of {rows} holdout rows, from the lowest prediction to the highest")
    unit = f" ({_label(target.unit)})" if target.unit else ""
    axes.set_ylabel(f"{_label(target.name)}{unit}")
    axes.legend(loc="upper left", frameon=False)
    return _png(figure)


def explanation_plots(contributions: Contributions, problem: Problem) -> dict[str, bytes]:
    """Importance, beeswarm, dependence of the top features and one row's waterfall."""
    import shap

    # One output of several: the first class, named in the titles.
    several = contributions.values.shape[2] > 1
    of = _label(f" for class '{problem.classes[0]}'") if several else ""
    values = contributions.for_output(0)
    values.feature_names = [_label(name) for name in contributions.names]
    plots = {"importance": _importance(contributions)}
    plots["beeswarm"] = _drawn_by_shap(
        lambda: shap.plots.beeswarm(values, show=False), f"Contributions{of}, a dot per row"
    )
    for item in contributions.importance[:TOP_FEATURES]:
        position = contributions.names.index(item.feature)
        plots[f"dependence_{position}"] = _drawn_by_shap(
            lambda position=position: shap.plots.scatter(values[:, position], show=False),
            f"{_label(item.feature)}: contribution{of} by value",
        )
    plots["waterfall"] = _drawn_by_shap(
        lambda: shap.plots.waterfall(values[0], show=False), f"One row, from average to prediction{of}"
    )
    return plots


def comparison_plot(results: list[Any], metric: str) -> bytes:
    """Each candidate's folds and mean."""
    figure, axes = _figure(6.4, 0.6 + 0.5 * len(results))
    for position, result in enumerate(reversed(results)):
        axes.plot(result.scores, [position] * len(result.scores), "o", color=GREY, alpha=0.7)
        axes.plot(result.metric, position, "D", color=BLUE)
    axes.set_yticks(range(len(results)), [result.candidate for result in reversed(results)])
    axes.set_xlabel(f"{metric} of each fold, and their mean")
    axes.grid(axis="x", alpha=0.3)
    return _png(figure)


def tuning_plots(result: TuningResult) -> dict[str, bytes]:
    """The history of a search and, where enough trials were completed, which hyperparameters decided."""
    plots = {"history": _history(result)}
    if result.importance:
        plots["importance"] = _bars(result.importance, "share in reaching the best trials")
    return plots


def _residuals(outcome: Outcome) -> bytes:
    problem, target, predicted = outcome.problem, outcome.target, outcome.predicted
    figure, (left, right) = _figure(10, 4.2, columns=2)
    unit = f" ({_label(problem.target.unit)})" if problem.target.unit else ""
    shades = left.hexbin(target, predicted, gridsize=45, bins="log", mincnt=1, cmap="Blues")
    low, high = min(target.min(), predicted.min()), max(target.max(), predicted.max())
    left.plot([low, high], [low, high], color=ORANGE, linewidth=1.2, label="perfect")
    left.set_xlabel(f"actual {_label(problem.target.name)}{unit}")
    left.set_ylabel(f"predicted{unit}")
    left.legend(loc="upper left", frameon=False)
    figure.colorbar(shades, ax=left, label="rows (log scale)")
    right.hist(predicted - target, bins=60, color=BLUE)
    right.axvline(0, color=ORANGE, linewidth=1.2)
    right.set_xlabel(f"predicted minus actual{unit}")
    right.set_ylabel("rows")
    return _png(figure)


def _calibration(outcome: Outcome) -> bytes:
    """Reliability, with the expected calibration error (ECE) of each class and how often what was said."""
    figure, (upper, lower) = _figure(5.4, 6, rows=2, height_ratios=[3, 1])
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, label="perfect")
    classes = outcome.problem.classes
    for position in [1] if len(classes) == 2 else range(len(classes)):
        chance, truth = outcome.predicted[:, position], outcome.target == position
        said, true, _ = reliability(chance, truth)
        label = f"{_label(classes[position])} (ECE {calibration_error(chance, truth):.3f})"
        upper.plot(said, true, "o-", markersize=4, label=label)
        lower.hist(chance, bins=np.linspace(0, 1, BINS + 1), histtype="step", linewidth=1.5)
    upper.set_ylabel("share that was so")
    upper.legend(framealpha=0.8, edgecolor="none")
    lower.set_xlabel("predicted probability")
    lower.set_ylabel("rows")
    return _png(figure)


def _roc(outcome: Outcome) -> bytes:
    from sklearn.metrics import roc_curve

    figure, axes = _figure(5.2, 4.6)
    truth = outcome.target == 1
    if 0 < truth.sum() < len(truth):
        false, true, _ = roc_curve(truth, outcome.predicted[:, 1])
        area = compute_metrics(outcome)["roc_auc"]
        axes.plot(false, true, color=BLUE, label=f"model (area {area:.3f})")
        answered = outcome.labels == 1
        at = ((answered & ~truth).sum() / (~truth).sum(), (answered & truth).sum() / truth.sum())
        axes.plot(*at, "D", color=ORANGE, label=f"at the threshold, {outcome.threshold:.3g}")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, label="chance")
    axes.set_xlabel("share of negatives answered as positive")
    axes.set_ylabel("share of positives found (recall)")
    axes.legend(loc="lower right", frameon=False)
    return _png(figure)


def _precision_recall(outcome: Outcome) -> bytes:
    from sklearn.metrics import precision_recall_curve

    figure, axes = _figure(5.2, 4.6)
    truth = outcome.target == 1
    if truth.any():
        precision, recall, _ = precision_recall_curve(truth, outcome.predicted[:, 1])
        found = compute_metrics(outcome)
        label = f"model (average precision {found['average_precision']:.3f})"
        axes.step(recall, precision, where="post", color=BLUE, label=label)
        at = f"at the threshold, {outcome.threshold:.3g}"
        axes.plot(found["recall"], found["precision"], "D", color=ORANGE, label=at)
    axes.axhline(truth.mean(), color=GREY, linewidth=1, label="share of positives")
    axes.set_xlabel("share of positives found (recall)")
    axes.set_ylabel("share of positive answers that are right (precision)")
    axes.set_ylim(0, 1.03)
    axes.legend(loc="lower left", frameon=False)
    return _png(figure)


def _cost(outcome: Outcome, out_of_fold: Outcome, costs: Costs) -> bytes:
    figure, axes = _figure(6.4, 4.2)
    drawn = {"training rows, out of fold": (out_of_fold, BLUE), "holdout": (outcome, GREY)}
    for name, (part, colour) in drawn.items():
        thresholds, cost = cost_curve(part.target, part.predicted[:, 1], costs)
        axes.step(thresholds, cost, where="mid", color=colour, label=name)
        if part is out_of_fold:
            chosen = cost[np.abs(thresholds - outcome.threshold).argmin()]
            axes.plot(outcome.threshold, chosen, "D", color=ORANGE, label=f"chosen, {outcome.threshold:.3g}")
            # Always the same answer costs a constant; what is dearer than the cheaper one is no choice.
            axes.set_ylim(0, 1.2 * max(min(cost[0], cost[-1]), chosen) or 1)
    axes.set_xlim(0, 1)
    axes.set_xlabel(f"probability of {_label(outcome.problem.classes[1])} from which it is the answer")
    axes.set_ylabel("mean cost of a row")
    axes.legend(frameon=False)
    return _png(figure)


def _set_sizes(outcome: Outcome, intervals: Intervals) -> bytes:
    classes = len(outcome.problem.classes)
    sizes = np.arange(1, classes + 1)
    figure, axes = _figure(6.4, 3.6)
    for place, level in enumerate(SHOWN):
        held, found = holds(intervals, outcome, level)
        right, all_rows = (
            np.bincount(found[part].astype(int), minlength=classes + 1)[1:] for part in (held, held | True)
        )
        bars = {"x": sizes + 0.27 * (place - 1), "width": 0.25}
        label = f"{level:.0%}: {held.mean():.1%} hold the truth"
        axes.bar(height=right, color=BLUE, alpha=0.4 + 0.3 * place, label=label, **bars)
        axes.bar(height=all_rows - right, bottom=right, color=ORANGE, **bars)
    axes.set_xticks(sizes)
    axes.set_xlabel("classes in a set (orange: not the true one)")
    axes.set_ylabel("holdout rows")
    axes.legend(frameon=False)
    return _png(figure)


def _confusion(outcome: Outcome) -> bytes:
    classes = outcome.problem.classes
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (outcome.target.astype(int), outcome.labels), 1)
    size = max(3.6, 0.8 * len(classes) + 1.8)
    figure, axes = _figure(size, size)
    axes.imshow(counts, cmap="Blues")
    for (row, column), count in np.ndenumerate(counts):
        shade = "white" if count > counts.max() / 2 else "black"
        axes.text(column, row, str(count), ha="center", va="center", color=shade)
    names = [_label(name) for name in classes]
    axes.set_xticks(range(len(classes)), names, rotation=30, ha="right")
    axes.set_yticks(range(len(classes)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    return _png(figure)


def _importance(contributions: Contributions) -> bytes:
    values = {item.feature: item.value for item in contributions.importance[:20]}
    return _bars(values, "mean absolute contribution")


def _bars(values: dict[str, float], what: str) -> bytes:
    """A bar a name, the first on top."""
    figure, axes = _figure(6.4, 1 + 0.32 * len(values))
    axes.barh([_label(name) for name in values][::-1], list(values.values())[::-1], color=BLUE)
    axes.set_xlabel(what)
    axes.grid(axis="x", alpha=0.3)
    return _png(figure)


def _history(result: TuningResult) -> bytes:
    """Each trial's score, and the best until then; a pruned one's score is of its first folds only."""
    figure, axes = _figure(7.2, 4.2)
    complete, pruned = result.of("complete"), result.of("pruned")
    numbers, scores = [trial.number for trial in complete], [trial.metric for trial in complete]
    axes.plot([t.number for t in pruned], [t.metric for t in pruned], "x", color=GREY, label="pruned")
    axes.plot(numbers, scores, "o", color=BLUE, label="on all folds")
    best = np.minimum if result.metric_name in LOWER_IS_BETTER else np.maximum
    axes.step(numbers, best.accumulate(scores), where="post", color=BLUE, label="best so far")
    axes.axhline(result.hand_set.metric, color=ORANGE, linewidth=1, label="hand-set")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("trial")
    axes.set_ylabel(f"{result.metric_name}, mean of its folds")
    axes.legend(framealpha=0.8, edgecolor="none")
    axes.grid(axis="y", alpha=0.3)
    return _png(figure)


def _label(text: str) -> str:
    """Text for matplotlib, which takes what stands between dollar signs for a formula."""
    return text.replace("$", r"\$")


def _drawn_by_shap(draw: Any, title: str) -> bytes:
    """shap draws on pyplot's current figure, dots shaken by NumPy's global generator: seeded for a while."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    plt.close("all")
    state = np.random.get_state()
    np.random.seed(0)
    try:
        draw()
    finally:
        np.random.set_state(state)
    figure = plt.gcf()
    figure.axes[0].set_title(title, fontsize=11)
    png = _png(figure)
    plt.close("all")
    return png


def _figure(width: float, height: float, rows: int = 1, columns: int = 1, **layout: Any) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **layout)


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    # Without the Software entry the bytes depend on the drawing alone.
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    return buffer.getvalue()
