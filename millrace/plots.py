"""Plots as PNG bytes, drawn off screen."""

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from millrace.contract import Problem
from millrace.explanation import Contributions
from millrace.metrics import Floats

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#2563a8", "#d9822b", "#8a8f98"
BINS = 10
TOP_FEATURES = 3


def evaluation_plots(target: Floats, predicted: Floats, problem: Problem) -> dict[str, bytes]:
    """Residuals for regression; calibration and confusion for classification."""
    if problem.task == "regression":
        return {"residuals": _residuals(target, predicted, problem)}
    return {
        "calibration": _calibration(target, predicted, problem),
        "confusion": _confusion(target, predicted, problem),
    }


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


def _residuals(target: Floats, predicted: Floats, problem: Problem) -> bytes:
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


def _calibration(target: Floats, predicted: Floats, problem: Problem) -> bytes:
    figure, axes = _figure(5.2, 4.6)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, label="perfect")
    positions = [1] if problem.task == "binary" else range(len(problem.classes))
    for position in positions:
        chance = predicted[:, position]
        bins = np.minimum((chance * BINS).astype(int), BINS - 1)
        used = [b for b in range(BINS) if (bins == b).any()]
        said = [chance[bins == b].mean() for b in used]
        true = [(target[bins == b] == position).mean() for b in used]
        axes.plot(said, true, "o-", markersize=4, label=_label(problem.classes[position]))
    axes.set_xlabel("predicted probability")
    axes.set_ylabel("share that was so")
    axes.legend(frameon=False)
    return _png(figure)


def _confusion(target: Floats, predicted: Floats, problem: Problem) -> bytes:
    classes = problem.classes
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, (target.astype(int), predicted.argmax(axis=1)), 1)
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
    items = contributions.importance[:20][::-1]
    figure, axes = _figure(6.4, 1 + 0.32 * len(items))
    axes.barh([_label(item.feature) for item in items], [item.value for item in items], color=BLUE)
    axes.set_xlabel("mean absolute contribution")
    axes.grid(axis="x", alpha=0.3)
    return _png(figure)


def _label(text: str) -> str:
    """Text for matplotlib, which takes what stands between dollar signs for a formula."""
    return text.replace("$", r"\$")


def _drawn_by_shap(draw: Any, title: str) -> bytes:
    """shap draws on pyplot's current figure; take it from there."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    plt.close("all")
    draw()
    figure = plt.gcf()
    figure.axes[0].set_title(title, fontsize=11)
    png = _png(figure)
    plt.close("all")
    return png


def _figure(width: float, height: float, columns: int = 1) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns)


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    # Without the Software entry the bytes depend on the drawing alone.
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    return buffer.getvalue()
