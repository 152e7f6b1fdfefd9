"""Pictures of a verdict, and of those before it, as PNG bytes."""

import io
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from millrace.monitoring.history import Point
from millrace.monitoring.verdict import DriftVerdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#2563a8", "#d9822b", "#8a8f98"
# Columns with the highest scores; more would be too small to read.
DRAWN = 25
# Scores beyond are drawn as this one: what matters is on which side of 1 they are.
MOST = 4.0


def columns_plot(drift: DriftVerdict) -> bytes:
    """Each column's score beside the threshold, the highest on top."""
    ranked = sorted(drift.columns, key=lambda column: -(column.score or 0))[:DRAWN][::-1]
    figure = _figure(7.2, 1 + 0.32 * len(ranked))
    axes = figure.subplots()
    scores = [min(column.score or 0, MOST) for column in ranked]
    axes.barh(
        [_label(column.name) for column in ranked],
        scores,
        color=[ORANGE if column.reasons else BLUE for column in ranked],
    )
    for place, column in enumerate(ranked):
        if (column.score or 0) > MOST:
            axes.text(MOST, place, f" {column.score:.3g}", va="center")
    axes.axvline(1, color=GREY, linewidth=1.2)
    axes.set_xlim(0, MOST * 1.12)
    axes.set_xlabel("score: drifted above 1")
    axes.grid(axis="x", alpha=0.3)
    return _png(figure)


def history_plot(points: Sequence[Point]) -> bytes:
    """Over time: the largest score, each column's, and the primary metric beside the holdout's."""
    figure = _figure(9, 8.4)
    above, middle, below = figure.subplots(3, 1, sharex=True, height_ratios=[1, 1.2, 1])
    times = [point.time for point in points]
    _scores(above, points, times)
    _columns(figure, middle, points, times)
    _metric(below, points, times)
    below.tick_params(axis="x", rotation=20)
    below.set_xlabel("end of the window (UTC)")
    return _png(figure)


def _scores(axes: Any, points: Sequence[Point], times: list[datetime]) -> None:
    scores = [np.nan if point.score is None else min(point.score, MOST) for point in points]
    axes.plot(times, scores, color=GREY, linewidth=1, zorder=1)
    for status, colour in (("no drift", BLUE), ("drift", ORANGE)):
        own = [place for place, point in enumerate(points) if point.drift == status]
        if own:
            axes.plot([times[i] for i in own], [scores[i] for i in own], "o", color=colour, label=status)
    few = [point.time for point in points if point.drift == "not enough data"]
    if few:
        axes.plot(few, [0] * len(few), "x", color=GREY, label="not enough data")
    axes.axhline(1, color=GREY, linewidth=1, linestyle="--")
    axes.set_ylim(-0.15, MOST * 1.05)
    axes.set_ylabel(f"largest score (up to {MOST:g})")
    axes.legend(loc="upper left", frameon=False, ncols=3)
    for before, after in pairwise(points):
        if before.version != after.version:
            axes.axvline(after.time, color=GREY, linewidth=0.8, linestyle=":")
            axes.text(after.time, MOST, f" version {after.version}", va="top", fontsize=8, color=GREY)


def _columns(figure: "Figure", axes: Any, points: Sequence[Point], times: list[datetime]) -> None:
    names = list(dict.fromkeys(name for point in points for name in point.scores))
    top = {name: max(point.scores.get(name, 0) for point in points) for name in names}
    names = sorted(names, key=lambda name: -top[name])[:DRAWN]
    for row, name in enumerate(names):
        known = [
            (time, point.scores[name])
            for time, point in zip(times, points, strict=True)
            if name in point.scores
        ]
        dots = axes.scatter(
            [time for time, _ in known], [row] * len(known), c=[score for _, score in known],
            cmap="YlOrRd", vmin=0, vmax=2, marker="s", s=90, edgecolors=GREY, linewidths=0.3,
        )  # fmt: skip
    axes.set_yticks(range(len(names)), [_label(name) for name in names])
    axes.invert_yaxis()
    if names:
        figure.colorbar(dots, ax=axes, label="score")


def _metric(axes: Any, points: Sequence[Point], times: list[datetime]) -> None:
    for name, colour, mark in (("holdout", GREY, ""), ("metric", BLUE, "o"), ("estimate", ORANGE, "x")):
        known = [(t, i) for t, p in zip(times, points, strict=True) if (i := getattr(p, name)) is not None]
        if known:
            when = [time for time, _ in known]
            label = {"metric": "measured on labels", "estimate": "estimate without labels"}.get(name, name)
            low, high = [i.low for _, i in known], [i.high for _, i in known]
            axes.fill_between(when, low, high, color=colour, alpha=0.15, linewidth=0)
            style = {"linestyle": "--" if name == "estimate" else "-", "linewidth": 1}
            axes.plot(when, [i.value for _, i in known], color=colour, marker=mark, label=label, **style)
    decayed = [(p.time, p.metric.value) for p in points if p.decay == "decay" and p.metric is not None]
    if decayed:
        axes.plot(
            *zip(*decayed, strict=True), "o", color=ORANGE, markersize=9, fillstyle="none", label="decay"
        )
    axes.set_ylabel(points[-1].metric_name if points else "")
    axes.legend(loc="upper left", frameon=False, ncols=4)


def _label(text: str) -> str:
    """Text for matplotlib, which takes what stands between dollar signs for a formula."""
    return text.replace("$", r"\$")


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    return buffer.getvalue()
