"""How things were: the rows of a bundle's reference sample, as the columns that are watched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from millrace.bundle import REFERENCE, Bundle
from millrace.contract import OWN_PREFIX, Problem
from millrace.decisions import DEFAULT
from millrace.explanation import input_shares
from millrace.features import encode, encode_target, encoded
from millrace.metrics import Floats, Outcome
from millrace.prediction_log.entries import PREDICTION
from millrace.transforms import Kind, Matrix

PREDICTED = "prediction"
# Rows of a reference that are used: with more, samples differ by hardly less, and calibrating takes longer.
MOST_ROWS = 10_000
BOOLEANS = ("false", "true")


class Source(NamedTuple):
    """Where a watched column is in a typed table, how it is encoded, and its names if it holds any."""

    column: str
    kind: Kind
    categories: tuple[str, ...] = ()

    def encode(self, table: pd.DataFrame) -> Floats:
        """The column of a typed table [rows]: numbers as they are, moments as seconds; NaN where missing.

        Names are positions among `categories`, and what is none of them has the position after the last.
        """
        given = table[self.column]
        if self.kind != "category":
            return encode(given, self.kind)
        codes = encode(given, self.kind, self.categories)
        return np.where(np.isnan(codes) & given.notna().to_numpy(), len(self.categories), codes)


@dataclass(frozen=True)
class Watched:
    """A column that is watched, its encoded `values` [rows] in the reference, and how much it matters.

    `importance` is its share of all inputs' importance, None for predictions. The weights of the inputs have
    a mean of 1.
    """

    name: str
    source: Source
    importance: float | None
    weight: float
    values: Floats

    @property
    def categories(self) -> tuple[str, ...]:
        """The names that it may have; none if it holds numbers."""
        return self.source.categories


@dataclass(frozen=True)
class Baseline:
    """The watched columns of a bundle, and what was true and predicted of the same rows."""

    columns: tuple[Watched, ...]
    outcome: Outcome

    @property
    def problem(self) -> Problem:
        """The contract."""
        return self.outcome.problem

    @property
    def rows(self) -> int:
        """How many rows the reference has."""
        return len(self.outcome.target)

    @classmethod
    def of(cls, bundle: Bundle) -> "Baseline":
        """Read the reference sample of a bundle, held-out rows with the model's predictions of them."""
        sample = pd.read_parquet(bundle.folder / REFERENCE)
        return cls.from_sample(bundle.problem, sample, input_shares(bundle), bundle.fitted.threshold)

    @classmethod
    def from_sample(
        cls,
        problem: Problem,
        sample: pd.DataFrame,
        importance: Mapping[str, float],
        threshold: float = DEFAULT,
    ) -> "Baseline":
        """The same from typed rows with targets and predictions, and each input's share of the importance."""
        if len(sample) > MOST_ROWS:
            sample = sample.sample(MOST_ROWS, random_state=0)
        sources = {
            name: Source(name, kind, BOOLEANS if kind == "boolean" else categories)
            for name, kind, categories in ((f.name, f.kind, f.categories) for f in encoded(problem))
            if not problem.inputs[name].private and name != _clock(problem)
        }
        weights = _weights([importance[name] for name in sources])
        inputs = [
            Watched(name, source, importance[name], weight, source.encode(sample))
            for (name, source), weight in zip(sources.items(), weights, strict=True)
        ]
        predicted = _predicted(problem)
        prediction = Watched(PREDICTED, predicted, None, 1.0, predicted.encode(sample))
        target = encode_target(sample[problem.target.name], problem)
        outcome = Outcome(problem, target, predictions(sample, problem), threshold)
        return cls((*inputs, prediction), outcome)

    def encode(self, table: pd.DataFrame) -> Matrix:
        """The watched columns of a typed table with predictions, as the log gives it: [rows, columns]."""
        return np.column_stack([column.source.encode(table) for column in self.columns])


def predictions(table: pd.DataFrame, problem: Problem) -> Floats:
    """What was predicted, as `Outcome` has it; NaN where a row has no whole answer."""
    if not problem.classes:
        return table[PREDICTION].to_numpy(np.float64)
    return table[[f"{OWN_PREFIX}{name}" for name in problem.classes]].to_numpy(np.float64)


def _clock(problem: Problem) -> str | None:
    """The column of a split by time, which moves on with nothing being wrong."""
    return problem.split.column if problem.split.by == "time" else None


def _predicted(problem: Problem) -> Source:
    """Values; of two classes the positive one's probability; of several the class."""
    if problem.task == "multiclass":
        return Source(PREDICTION, "category", problem.classes)
    return Source(f"{OWN_PREFIX}{problem.classes[1]}" if problem.classes else PREDICTION, "numeric")


def _weights(importance: Sequence[float]) -> list[float]:
    """Half by importance, half equal, with a mean of 1: no column is so unimportant that it may break."""
    total = sum(importance)
    shares = [share / total if total > 0 else 1 / len(importance) for share in importance]
    return [0.5 + 0.5 * share * len(importance) for share in shares]
