"""How things were: the rows of a bundle's reference sample, as the columns that are watched."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from millrace.bundle import EXPLANATION, REFERENCE, Bundle
from millrace.contract import OWN_PREFIX, Problem
from millrace.features import encode, encode_target, encoded
from millrace.metrics import Floats, Outcome
from millrace.prediction_log.entries import PREDICTION
from millrace.transforms import Kind, Matrix

PREDICTED = "prediction"
# Rows of a reference that are used: with more, samples differ by hardly less, and calibrating takes longer.
MOST_ROWS = 10_000
BOOLEANS = ("false", "true")


@dataclass(frozen=True)
class Watched:
    """A column that is watched: its `values` [rows] in the reference, encoded, and how much it matters.

    Numbers, and moments as seconds, stay as they are; names are positions among `categories`, and what is
    none of them has the position after the last. NaN is missing. The weights of all columns have a mean of
    1; `importance` is the share of all inputs' importance, None for predictions.
    """

    name: str
    source: str
    """The name in the log."""
    kind: Kind
    categories: tuple[str, ...]
    importance: float | None
    weight: float
    values: Floats

    @property
    def named(self) -> bool:
        """Whether its values are names, and no numbers."""
        return bool(self.categories)

    def encode(self, table: pd.DataFrame) -> Floats:
        """The column of a typed table: [rows]."""
        given = table[self.source]
        codes = encode(given, self.kind, self.categories if self.kind == "category" else ())
        if self.kind != "category":
            return codes
        return np.where(np.isnan(codes) & given.notna().to_numpy(), len(self.categories), codes)


@dataclass(frozen=True)
class Baseline:
    """The watched columns of a bundle, and what was true and predicted of the same rows."""

    problem: Problem
    columns: tuple[Watched, ...]
    outcome: Outcome

    @property
    def rows(self) -> int:
        """How many rows the reference has."""
        return len(self.outcome.target)

    @classmethod
    def of(cls, bundle: Bundle) -> "Baseline":
        """Read the reference sample of a bundle, held-out rows with the model's predictions of them."""
        sample = pd.read_parquet(bundle.folder / REFERENCE)
        if len(sample) > MOST_ROWS:
            sample = sample.sample(MOST_ROWS, random_state=0)
        problem = bundle.problem
        importance = _importance(bundle)
        watched = [
            (name, name, kind, BOOLEANS if kind == "boolean" else categories, importance[name])
            for name, kind, categories in ((f.name, f.kind, f.categories) for f in encoded(problem))
            if not problem.inputs[name].private
        ]
        weights = [*_weights([share for *_, share in watched]), 1.0]
        columns = [
            Watched(*about, weight, np.empty(0))
            for about, weight in zip([*watched, _prediction(problem)], weights, strict=True)
        ]
        columns = [
            Watched(c.name, c.source, c.kind, c.categories, c.importance, c.weight, c.encode(sample))
            for c in columns
        ]
        target = encode_target(sample[problem.target.name], problem)
        outcome = Outcome(problem, target, predictions(sample, problem), bundle.fitted.threshold)
        return cls(problem, tuple(columns), outcome)

    def encode(self, table: pd.DataFrame) -> Matrix:
        """The watched columns of a typed table with predictions, as the log gives it: [rows, columns]."""
        return np.column_stack([column.encode(table) for column in self.columns])


def predictions(table: pd.DataFrame, problem: Problem) -> Floats:
    """What was predicted, as `Outcome` has it; NaN where a row has no whole answer."""
    if not problem.classes:
        return table[PREDICTION].to_numpy(np.float64)
    return table[[f"{OWN_PREFIX}{name}" for name in problem.classes]].to_numpy(np.float64)


def _prediction(problem: Problem) -> tuple[str, str, Kind, tuple[str, ...], None]:
    """Values; of two classes the positive one's probability; of several the class."""
    if problem.task == "regression":
        return PREDICTED, PREDICTION, "numeric", (), None
    if problem.task == "binary":
        return PREDICTED, f"{OWN_PREFIX}{problem.classes[1]}", "numeric", (), None
    return PREDICTED, PREDICTION, "category", problem.classes, None


def _importance(bundle: Bundle) -> dict[str, float]:
    """Each input's share of the importance; what transforms made counts for what they read, equally."""
    made_from = bundle.fitted.state.made_from
    found = dict.fromkeys(bundle.problem.inputs, 0.0)
    for item in bundle.read(EXPLANATION):
        sources = made_from.get(item["feature"], (item["feature"],))
        for source in sources:
            found[source] += item["value"] / len(sources)
    total = sum(found.values())
    return {name: value / total if total > 0 else 1 / len(found) for name, value in found.items()}


def _weights(importance: Sequence[float]) -> list[float]:
    """Half by importance, half equal, with a mean of 1: no column is so unimportant that it may break."""
    total = sum(importance)
    shares = [share / total if total > 0 else 1 / len(importance) for share in importance]
    return [0.5 + 0.5 * share * len(importance) for share in shares]
