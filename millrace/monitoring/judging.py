"""A window beside the reference: the verdict on each column, and on all of them."""

import numpy as np

from millrace.monitoring.baseline import Baseline, Watched
from millrace.monitoring.calibration import Calibration, calibrate
from millrace.monitoring.settings import MonitoringSettings
from millrace.monitoring.statistics import (
    kolmogorov_surprise,
    likelihood_ratio,
    likelihood_ratio_surprise,
    total_variation,
)
from millrace.monitoring.tally import Cells, Tally
from millrace.monitoring.verdict import ColumnVerdict, DriftVerdict


def judge(baseline: Baseline, tally: Tally, settings: MonitoringSettings) -> DriftVerdict:
    """Whether the tallied rows are drawn like the reference's; without enough of either, no verdict."""
    few = too_few(tally.rows, baseline.rows, settings.min_rows)
    if few:
        columns = tuple(_column(*pair, None) for pair in zip(baseline.columns, tally.cells, strict=True))
        return DriftVerdict(
            status="not enough data",
            why=few,
            rows=tally.rows,
            reference_rows=baseline.rows,
            columns=columns if tally.rows else (),
        )
    calibration = calibrate(
        baseline.columns,
        tally.rows,
        false_alarms=settings.false_alarms,
        draws=settings.bootstrap,
        seed=settings.seed,
    )
    return judge_calibrated(baseline, tally, calibration)


def judge_calibrated(baseline: Baseline, tally: Tally, calibration: Calibration) -> DriftVerdict:
    """The same with a calibration for windows of this size."""
    parts = zip(baseline.columns, tally.cells, calibration.scales, strict=True)
    columns = tuple(_column(column, cells, calibration, scale) for column, cells, scale in parts)
    worst = max(columns, key=lambda column: column.score or 0)
    assert worst.score is not None
    drifted = sorted((c for c in columns if c.reasons), key=lambda c: -(c.score or 0))
    return DriftVerdict(
        status="drift" if drifted else "no drift",
        why="; ".join(f"{c.name}: {', '.join(c.reasons)}" for c in drifted)
        or f"No column differs from the reference by more than chance; nearest to it is {worst.name}.",
        rows=tally.rows,
        reference_rows=baseline.rows,
        distance=float(sum(c.distance * c.importance for c in columns if c.importance is not None)),
        score=worst.score,
        p_value=worst.p_value,
        columns=columns,
    )


def too_few(rows: int, reference_rows: int, fewest: int, what: str = "rows") -> str:
    """Why there are too few rows for a verdict; empty if there are enough."""
    if rows < fewest:
        return f"The window has {rows:,} {what}; a verdict takes {fewest:,}."
    if reference_rows < fewest:
        return f"The bundle's reference has {reference_rows:,} rows; a verdict takes {fewest:,}."
    return ""


def _column(
    column: Watched, cells: Cells, calibration: Calibration | None, scale: float = 1.0
) -> ColumnVerdict:
    rows = max(cells.known + cells.missing, 1)
    gone = int(np.isnan(column.values).sum())
    known = len(column.values) - gone
    distance, surprise = _names(column, cells) if column.categories else _numbers(column, cells, known)
    about = ColumnVerdict(
        name=column.name,
        importance=column.importance,
        distance=distance,
        missing=cells.missing / rows,
        missing_before=gone / max(len(column.values), 1),
        unseen=cells.unseen / rows,
    )
    if calibration is None:
        return about
    strange = int((column.values == len(column.categories)).sum()) if column.categories else 0
    surprises = {
        f"values, distance {distance:.3f}": surprise / scale,
        f"{about.missing:.2%} missing, before {about.missing_before:.2%}": _share(
            cells.missing, cells.known, gone, known
        ),
        f"{about.unseen:.2%} not in the contract": _share(
            cells.unseen, cells.known - cells.unseen, strange, known - strange
        ),
    }
    scores = {what: found + float(np.log(column.weight)) for what, found in surprises.items()}
    return about.model_copy(
        update={
            "score": max(0.0, max(scores.values())) / calibration.threshold,
            "p_value": calibration.p_value(max(scores.values())),
            "reasons": tuple(what for what, score in scores.items() if score > calibration.threshold),
        }
    )


def _numbers(column: Watched, cells: Cells, known: int) -> tuple[float, float]:
    """The largest distance between the distribution functions, and its surprise."""
    if not cells.known or not known:
        return 0.0, 0.0
    ordered = np.sort(column.values[~np.isnan(column.values)])
    up_to = np.searchsorted(ordered, cells.edges, side="right") / known
    below = np.searchsorted(ordered, cells.edges, side="left") / known
    distance = np.maximum(
        np.abs(cells.up_to / cells.known - up_to), np.abs(cells.below / cells.known - below)
    ).max()
    # Draws from the reference have their values in common, new rows lie between: half a step is that.
    counted = max(distance - 0.5 / known, 0.0)
    surprise = kolmogorov_surprise(np.array(counted), np.array(cells.known), np.array(known))
    return float(distance), float(surprise)


def _names(column: Watched, cells: Cells) -> tuple[float, float]:
    """The total variation of the categories, and the surprise of their counts."""
    codes = column.values[~np.isnan(column.values)].astype(np.int64)
    before = np.bincount(codes, minlength=len(column.categories) + 1)[: len(column.categories)]
    used = (before > 0) | (cells.named > 0)
    if used.sum() < 2 or not cells.named.sum() or not before.sum():
        return 0.0, 0.0
    ratio = likelihood_ratio(cells.named.astype(float), before.astype(float))
    return (
        total_variation(cells.named, before),
        float(likelihood_ratio_surprise(ratio, int(used.sum()) - 1)),
    )


def _share(here: int, others: int, before: int, others_before: int) -> float:
    """The surprise of a share's change."""
    if not here and not before:
        return 0.0
    window, reference = np.array([here, others], float), np.array([before, others_before], float)
    return float(likelihood_ratio_surprise(likelihood_ratio(window, reference), 1))
