"""How sure a prediction is: intervals and sets of classes by conformal prediction.

Calibrated on out-of-fold predictions (cross-conformal: Vovk, 2015, doi:10.1007/s10472-013-9368-4; CV+: Barber
et al., 2021, doi:10.1214/20-AOS1965), with one list of scores a bin or class (Mondrian). Where new rows are
drawn like the training rows, an interval of level 0.9 holds the truth in 90% of cases, in each bin of
predictions; a set of level 0.9 holds it for 90% of the rows of each class. Where they are not, as after a
split by time, nothing is promised: measure it.
"""

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from millrace.contract import Target
from millrace.errors import UserError
from millrace.metrics import Floats, Interval, Outcome
from millrace.scales import to_model, to_unit
from millrace.strict import Strict

LOWEST, HIGHEST, DEFAULT = 0.5, 0.99, 0.9
SHOWN = (0.8, 0.9, 0.95)
MAX_BINS = 10
# The fewest rows of which the outermost bounds a tail of (1 - HIGHEST) / 2.
MIN_ROWS = 199
# How many scores a tail keeps at most: a share of rows is then exact to LOWEST / 2 / DEPTH, on the safe side.
DEPTH = 500


class Tail(Strict):
    """The largest of `rows` scores, largest first: every `step`-th of them."""

    rows: int
    step: int
    scores: tuple[float, ...]

    def beyond(self, share: float) -> float:
        """The score that at most `share` of new rows exceed; infinite where the rows are too few to tell.

        The finite-sample quantile: of n scores the ceil((n + 1)(1 - share))-th smallest.
        """
        # A share such as (1 - 0.9) / 2 is a little too small as a float.
        place = int((self.rows + 1) * share + 1e-9) // self.step
        return self.scores[place - 1] if place else np.inf


class Intervals(Strict):
    """What the out-of-fold rows say about errors; without any rows, that nothing is certain.

    Regression: how far the truth lay `below` and `above` predictions, on the scale that models learn, in
    bins of the prediction parted at `edges`; a prediction on an edge is in the upper bin. Otherwise a tail
    for each of the `classes`: one minus the probability of that class, of its rows.
    """

    edges: tuple[float, ...] = ()
    below: tuple[Tail, ...] = ()
    above: tuple[Tail, ...] = ()
    classes: tuple[Tail, ...] = ()

    def bounds(self, predicted: Floats, target: Target, level: float = DEFAULT) -> Floats:
        """Low and high end for each predicted value, in the target's unit: [rows, 2].

        At most (1 - level) / 2 of new rows lie below, and as many above. The prediction is always between,
        unless it is outside the target's range, where no end is. Infinite where the rows of the bin are too
        few for the level and the range has no end.

        Raises:
            UserError: the level is not between 0.5 and 0.99.
        """
        share = (1 - _checked(level)) / 2
        at = to_model(predicted, target)
        bins = np.searchsorted(self.edges, at, side="right")
        below = np.array([tail.beyond(share) for tail in self.below] or [np.inf])[bins]
        above = np.array([tail.beyond(share) for tail in self.above] or [np.inf])[bins]
        ends = np.stack([at - below, at + above], axis=1)
        ends = np.where(np.isinf(ends), ends, to_unit(ends, target))
        ends[:, 0] = np.minimum(ends[:, 0], predicted)
        ends[:, 1] = np.maximum(ends[:, 1], predicted)
        low, high = target.range or (None, None)
        clipped: Floats = np.clip(ends, -np.inf if low is None else low, np.inf if high is None else high)
        return clipped

    def members(self, probabilities: Floats, level: float = DEFAULT) -> NDArray[np.bool_]:
        """Which classes a row may well be of: [rows, classes]; a row may be like none of them.

        Raises:
            UserError: the level is not between 0.5 and 0.99.
        """
        share = 1 - _checked(level)
        limits = np.array([tail.beyond(share) for tail in self.classes] or [np.inf])
        likely: NDArray[np.bool_] = 1 - probabilities <= limits
        return likely

    def sets(
        self, probabilities: Floats, labels: NDArray[np.int64], level: float = DEFAULT
    ) -> NDArray[np.bool_]:
        """The same with the class that is answered, `labels` [rows], always among them.

        So no set is empty, and sets of a level below the model's accuracy hold the truth more often than
        the level says.
        """
        answered = labels[:, None] == np.arange(probabilities.shape[1])
        sets: NDArray[np.bool_] = self.members(probabilities, level) | answered
        return sets


UNKNOWN = Intervals()


class Coverage(Strict):
    """How often intervals or sets of a level held the truth, with the interval of that share.

    `size` is their mean width in the target's unit, or the mean number of classes; None if one is endless.
    """

    level: float
    held: Interval
    size: float | None


def fit_intervals(out_of_fold: Outcome, rows: NDArray[np.int64]) -> Intervals:
    """Learn the scores from predictions of rows that the predicting model was not fitted on.

    Args:
        out_of_fold: truth and predictions in the target's unit.
        rows: which row each is of; a row that was predicted several times counts once.
    """
    problem, predicted = out_of_fold.problem, out_of_fold.predicted
    if problem.classes:
        own = [out_of_fold.target == position for position in range(len(problem.classes))]
        return Intervals(
            classes=tuple(
                _tail(1 - predicted[of, position], rows[of], 1 - LOWEST) for position, of in enumerate(own)
            )
        )
    at = to_model(predicted, problem.target)
    errors = to_model(out_of_fold.target, problem.target) - at
    edges = _edges(at, rows)
    bins = np.searchsorted(edges, at, side="right")
    parts = [bins == number for number in range(len(edges) + 1)]
    return Intervals(
        edges=tuple(edges),
        below=tuple(_tail(-errors[part], rows[part], (1 - LOWEST) / 2) for part in parts),
        above=tuple(_tail(errors[part], rows[part], (1 - LOWEST) / 2) for part in parts),
    )


def measure(intervals: Intervals, outcome: Outcome, confidence: float) -> tuple[Coverage, ...]:
    """Coverage and size at the levels that pages show, on rows that nothing was fitted on."""
    return tuple(_coverage(intervals, outcome, level, confidence) for level in SHOWN)


def holds(intervals: Intervals, outcome: Outcome, level: float) -> tuple[NDArray[np.bool_], Floats]:
    """Whether each interval or set holds the truth [rows], and its width or number of classes [rows]."""
    if outcome.problem.classes:
        sets = intervals.sets(outcome.predicted, outcome.labels, level)
        return sets[np.arange(len(sets)), outcome.target.astype(int)], sets.sum(axis=1).astype(float)
    low, high = intervals.bounds(outcome.predicted, outcome.problem.target, level).T
    return (low <= outcome.target) & (outcome.target <= high), high - low


def _coverage(intervals: Intervals, outcome: Outcome, level: float, confidence: float) -> Coverage:
    held, sizes = holds(intervals, outcome, level)
    return Coverage(
        level=level,
        held=_share(int(held.sum()), len(held), confidence),
        size=float(sizes.mean()) if np.isfinite(sizes).all() else None,
    )


def _share(hits: int, rows: int, confidence: float) -> Interval:
    """A share with its score interval (Wilson, 1927, doi:10.1080/01621459.1927.10502953)."""
    z, share = NormalDist().inv_cdf((1 + confidence) / 2), hits / rows
    middle = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    half = z / (1 + z**2 / rows) * np.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2))
    return Interval(value=share, low=max(0.0, float(middle - half)), high=min(1.0, float(middle + half)))


def _edges(at: Floats, rows: NDArray[np.int64]) -> list[float]:
    """Where to part predictions into equally full bins, of MIN_ROWS at least; equal ones stay together."""
    distinct = len(np.unique(rows))
    count = min(MAX_BINS, distinct // MIN_ROWS)
    fewest = MIN_ROWS * len(at) / max(distinct, 1)
    ordered, edges, start = np.sort(at), [], 0
    for edge in np.quantile(at, np.arange(1, count) / count) if count > 1 else ():
        stop = int(np.searchsorted(ordered, edge))
        if stop - start >= fewest and len(at) - stop >= fewest:
            edges.append(float(edge))
            start = stop
    return edges


def _tail(scores: Floats, rows: NDArray[np.int64], share: float) -> Tail:
    """The largest scores, as deep as `share` reaches."""
    distinct = len(np.unique(rows))
    depth = int((distinct + 1) * share + 1e-9)
    step = max(1, -(-depth // DEPTH))
    # Several predictions a row: the j-th of the rows is as far in as the j-th share of the predictions.
    places = np.arange(step, depth + 1, step) * len(scores) // max(distinct, 1) - 1
    return Tail(rows=distinct, step=step, scores=tuple(np.sort(scores)[::-1][places].tolist()))


def _checked(level: float) -> float:
    if not LOWEST <= level <= HIGHEST:
        raise UserError(f"The level of an interval is a number from {LOWEST} to {HIGHEST}, not {level:g}.")
    return level
