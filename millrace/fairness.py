"""How a model treats the groups of the contract's sensitive columns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from millrace.contract import Problem
from millrace.metrics import Outcome
from millrace.slices import MIN_ROWS_TO_JUDGE, Group, Slice
from millrace.strict import Strict


class GroupScore(Strict):
    """One group's rows; of classes, for one answer.

    `metric` is the primary one, with its interval. `bias` is the mean prediction less the mean truth; for
    an answer, its mean probability less its share of the rows, `right` in number. `selection_rate` is the
    share of rows that get the answer, `true_positive_rate` that among those where it is right,
    `false_positive_rate` that among the others; None where there are none.
    """

    feature: str
    group: str
    rows: int
    metric: float
    low: float
    high: float
    bias: float
    answer: str | None = None
    right: int = 0
    selection_rate: float | None = None
    true_positive_rate: float | None = None
    false_positive_rate: float | None = None


@dataclass(frozen=True)
class Spread:
    """One figure over the groups of one feature, each with the group's name."""

    name: str
    values: list[tuple[float, str]]

    @property
    def gap(self) -> float:
        """The highest less the lowest."""
        return max(self.values)[0] - min(self.values)[0]

    @property
    def sentence(self) -> str:
        """Both ends."""
        (high, first), (low, last) = max(self.values), min(self.values)
        return f"{self.name} {high:.4g} for '{first}' against {low:.4g} for '{last}'"


def fairness(outcome: Outcome, groups: Sequence[Group], slices: Sequence[Slice]) -> list[GroupScore]:
    """Groups and their slices as scores: of two classes for the positive one, of more for each."""
    found = []
    for group, part in zip(groups, slices, strict=True):
        known = part.model_dump(exclude={"value"}) | {"group": part.value}
        found += [GroupScore(**known, **answered) for answered in _by_answer(outcome, group)]
    return found


def gaps(scores: Sequence[GroupScore], problem: Problem, metric_name: str) -> list[str]:
    """A sentence for each sensitive feature: how far apart its groups are.

    First by the metric, then by that rate (for values: by the bias) which differs most. Groups with too few
    rows to stand behind a figure do not count.
    """
    return [
        _gap(feature, [score for score in scores if score.feature == feature], metric_name)
        for feature in problem.sensitive
    ]


def _by_answer(outcome: Outcome, group: Group) -> Iterator[dict[str, Any]]:
    target, predicted = outcome.target[group.rows], outcome.predicted[group.rows]
    classes = outcome.problem.classes
    if not classes:
        yield {"bias": float(predicted.mean() - target.mean())}
    for position in [1] if len(classes) == 2 else range(len(classes)):
        true, answered = target == position, outcome.labels[group.rows] == position
        yield {
            "answer": classes[position],
            "right": int(true.sum()),
            "bias": float(predicted[:, position].mean() - true.mean()),
            "selection_rate": float(answered.mean()),
            "true_positive_rate": float(answered[true].mean()) if true.any() else None,
            "false_positive_rate": float(answered[~true].mean()) if not true.all() else None,
        }


def _gap(feature: str, scores: Sequence[GroupScore], metric_name: str) -> str:
    metric = _spread(metric_name, [(score.metric, score.rows, score) for score in scores])
    if len(metric.values) < 2:
        return f"{feature}: fewer than two groups of at least {MIN_ROWS_TO_JUDGE} rows, nothing to compare."
    rates = [rate for rate in _rates(scores) if len(rate.values) > 1]
    widest = max(rates, key=lambda rate: rate.gap)
    (high, _), (low, _) = max(metric.values), min(metric.values)
    times = f" ({high / low:.2f} times)" if low > 0 else ""
    return f"{feature}: {metric.sentence}{times}; {widest.sentence} ({widest.gap:.4g} apart)."


def _rates(scores: Sequence[GroupScore]) -> Iterator[Spread]:
    for answer in dict.fromkeys(score.answer for score in scores):
        of = [score for score in scores if score.answer == answer]
        if answer is None:
            yield _spread("mean prediction less mean truth", [(s.bias, s.rows, s) for s in of])
            return
        yield _spread(f"share answered '{answer}'", [(s.selection_rate, s.rows, s) for s in of])
        yield _spread(f"true-positive rate of '{answer}'", [(s.true_positive_rate, s.right, s) for s in of])
        yield _spread(
            f"false-positive rate of '{answer}'",
            [(s.false_positive_rate, s.rows - s.right, s) for s in of],
        )


def _spread(name: str, found: list[tuple[float | None, int, GroupScore]]) -> Spread:
    """Of values, each with how many rows stand behind it, those with enough; each group once."""
    enough = {s.group: value for value, rows, s in found if value is not None and rows >= MIN_ROWS_TO_JUDGE}
    return Spread(name, [(value, group) for group, value in enough.items()])
