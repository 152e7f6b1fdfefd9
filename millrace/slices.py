"""Rows that belong together by the value of one feature, and how a model does on them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from millrace.contract import ORDERED, ColumnType, Problem
from millrace.metrics import Outcome, from_mean_loss, losses, resample
from millrace.strict import Strict

MIN_ROWS = 5
# Below this a bootstrap interval is too narrow to tell a weak spot from a few odd rows.
MIN_ROWS_TO_JUDGE = 20
QUARTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Group:
    """The positions of the rows where one feature has one value, or lies in one quarter of its range."""

    feature: str
    value: str
    rows: NDArray[np.int64]


class Slice(Strict):
    """The primary metric of one group's rows, with its bootstrap percentile interval."""

    feature: str
    value: str
    rows: int
    metric: float
    low: float
    high: float


def groups(table: pd.DataFrame, problem: Problem) -> list[Group]:
    """Groups of a typed table, by the categories or quartiles of each input and sensitive column."""
    found = [
        Group(feature, value, np.flatnonzero(members))
        for feature in problem.inputs | problem.sensitive
        for value, members in _members(table[feature], problem.features[feature].type)
    ]
    return [group for group in found if len(group.rows) >= MIN_ROWS]


def score(
    outcome: Outcome, parts: list[Group], *, resamples: int, confidence: float, seed: int
) -> list[Slice]:
    """The primary metric of each group; all are scored on the same resamples of all rows."""
    if not parts:
        return []
    from scipy.sparse import csr_array

    loss = losses(outcome)
    sizes = np.array([len(part.rows) for part in parts])
    rows = np.concatenate([part.rows for part in parts])
    starts = np.concatenate([[0], np.cumsum(sizes)])
    members = csr_array((np.ones(len(rows)), rows, starts), shape=(len(parts), len(loss)))
    draws = []
    for weights in resample(len(loss), resamples, seed):
        drawn = members @ weights.T
        # A resample without a row of the group says nothing of it.
        draws.append(np.where(drawn > 0, members @ (weights * loss).T / np.maximum(drawn, 1), np.nan))
    tail = (1 - confidence) / 2
    bounds = np.nanquantile(np.hstack(draws), [tail, 1 - tail], axis=1)
    task = outcome.problem.task
    values, low, high = (
        from_mean_loss(means, task).tolist() for means in (members @ loss / sizes, bounds[0], bounds[1])
    )
    return [
        Slice(feature=p.feature, value=p.value, rows=int(n), metric=v, low=lo, high=hi)
        for p, n, v, lo, hi in zip(parts, sizes, values, low, high, strict=True)
    ]


def worst(slices: Iterable[Slice]) -> Slice | None:
    """The slice that is surely weakest: whose interval starts highest, of those with enough rows."""
    known = [part for part in slices if part.rows >= MIN_ROWS_TO_JUDGE]
    return max(known, key=lambda part: part.low, default=None)


def sentence(slices: Iterable[Slice], metric_name: str, whole: float) -> str:
    """The worst slice in a sentence, beside the metric of all rows."""
    part = worst(slices)
    if part is None:
        return f"No slice has the {MIN_ROWS_TO_JUDGE} rows it takes to name a worst one."
    times = f", {part.metric / whole:.2g} times the whole" if whole > 0 else ""
    return (
        f"Worst: {part.feature} {part.value}, {metric_name} {part.metric:.4g} "
        f"({part.low:.4g} to {part.high:.4g}){times}{'' if part.low > whole else '; that may be chance'}."
    )


def _members(values: "pd.Series[Any]", kind: ColumnType) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    if kind not in ORDERED:
        shown = values.astype(str).where(values.notna(), "missing")
        for value in sorted(shown.unique()):
            yield str(value), (shown == value).to_numpy()
        return
    yield "missing", values.isna().to_numpy()
    known = values.dropna()
    edges = list(dict.fromkeys(known.quantile(list(QUARTILES)))) if len(known) else []
    for low, high in pairwise(edges):
        first = low == edges[0]
        members = values.between(low, high, inclusive="both" if first else "right").to_numpy()
        form = "%Y-%m-%d" if kind == "datetime" else ",.5g"
        yield f"{low:{form}} to {high:{form}}", members
