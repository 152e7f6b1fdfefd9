"""LightGBM on stored rows: a byte a value in memory, whatever the table was."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from millrace.bundle import FittedModel, read_json, write_json
from millrace.errors import UserError
from millrace.features import FeatureState, fit_features
from millrace.intervals import fit_intervals
from millrace.large.rows import BATCH, Stored, StoredRows
from millrace.metrics import PRIMARY, Floats, Outcome, compute_metrics
from millrace.models import CandidateSettings, TrainingRows
from millrace.models.boosting import LightGBMModel, LightGBMSettings, parameters
from millrace.scoring import Scorer
from millrace.selection import (
    CandidateResult,
    Fold,
    out_of_fold_table,
    read_out_of_fold,
    threshold_for,
)
from millrace.splitting import PARTS
from millrace.threads import as_they_come
from millrace.transforms import Matrix

if TYPE_CHECKING:
    import lightgbm

# Rows that the features are learnt from, and out-of-fold rows that the intervals are: evenly spread.
LEARNT, CALIBRATED = 200_000, 1_000_000
# Rows that compiled trees must answer as LightGBM's before they are believed.
PROOF = 2_000
# As the search for hyperparameters may change how few rows a leaf has, no feature is dropped for it.
BINNED = {"feature_pre_filter": False, "verbosity": -1}


@dataclass(frozen=True)
class Trained:
    """A model, how its folds went, and the metrics on the holdout."""

    fitted: FittedModel
    validated: CandidateResult
    holdout: dict[str, float]


@dataclass(frozen=True)
class Bins:
    """Stored rows as LightGBM has them, in a file of its own, and the features they were made with.

    Where a feature gives away the targets of the rows it is learnt from, these are not among `used`
    [rows], the rows to train on.
    """

    rows: StoredRows
    state: FeatureState

    @classmethod
    def of(cls, rows: StoredRows) -> "Bins":
        """Learn the features and make the file, beside the rows, or take those that are there."""
        quiet()
        features, file = rows.folder / "features.json", rows.folder / "bins.bin"
        if features.is_file():
            return cls(rows, FeatureState.model_validate(read_json(features)))
        learners = _evenly(rows.rows, LEARNT)
        target, parts = rows.target[learners], rows.parts[learners].astype(np.int64)
        state, _ = fit_features(_take(rows, learners), target, parts, rows.problem)
        bins = cls(rows, state)
        bins._made().save_binary(file)
        write_json(features, state.model_dump(mode="json"))
        return bins

    @cached_property
    def used(self) -> NDArray[np.int32]:
        """The positions of the rows to train on."""
        every = np.arange(self.rows.rows, dtype=np.int32)
        if not any(declared.out_of_fold for declared in self.rows.problem.transforms):
            return every
        return np.delete(every, _evenly(self.rows.rows, LEARNT))

    @cached_property
    def about(self) -> TrainingRows:
        """The rows without their matrix: targets, weights, directions."""
        none = np.empty((0, len(self.state.columns)))
        return TrainingRows(
            none, self.rows.target, self.rows.problem, self.state, np.empty(0, dtype=np.int64)
        )

    def dataset(self) -> "lightgbm.Dataset":
        """All rows, as read from the file."""
        import lightgbm

        return lightgbm.Dataset(str(self.rows.folder / "bins.bin"), params=BINNED)

    def subset(self, data: "lightgbm.Dataset", rows: NDArray[np.int32]) -> "lightgbm.Dataset":
        """Some rows of the dataset, by their positions in order."""
        part = data.subset([])
        # Its constructor would sort them as a list: a hundred bytes a row.
        part.used_indices = rows
        return part

    def matrix(self, start: int, stop: int) -> Matrix:
        """The matrix [rows, columns] of some rows."""
        return self.state.expand(self.rows.inputs(start, stop))

    def _made(self) -> "lightgbm.Dataset":
        import lightgbm

        return lightgbm.Dataset(
            _sequence(self),
            self.about.learnt,
            weight=self.about.weights,
            feature_name=[f"f{i}" for i in range(len(self.state.columns))],
            categorical_feature=self.state.categorical,
            params=BINNED,
        ).construct()


def quiet() -> None:
    """Have LightGBM not say that it writes a file or passes a setting over, whatever its `verbosity`."""
    import lightgbm

    logger = logging.getLogger("lightgbm")
    logger.setLevel(logging.ERROR)
    lightgbm.register_logger(logger)


Grow = Callable[[NDArray[np.int32], LightGBMSettings, int], LightGBMModel]
"""Grows trees on some of the rows, by their positions in order, with a seed."""


def grow_here(bins: Bins, threads: int) -> Grow:
    """Trees grown by this process; all are of the same bins, read once."""
    import lightgbm

    data = bins.dataset().construct()

    def grow(rows: NDArray[np.int32], settings: LightGBMSettings, seed: int) -> LightGBMModel:
        part = data if len(rows) == bins.rows.rows else bins.subset(data, rows)
        told = parameters(settings, bins.about, len(rows), seed=seed, threads=threads)
        return LightGBMModel(lightgbm.train(told, part, settings.n_estimators), bins.about.task)

    return grow


@dataclass(frozen=True)
class StoredFold:
    """A fold of stored rows, as `millrace.selection.FoldRows` is one of rows in memory."""

    bins: Bins
    grow: Grow
    number: int
    folds: int

    @cached_property
    def _inside(self) -> NDArray[np.bool_]:
        inside: NDArray[np.bool_] = self.bins.rows.parts[self.bins.used] % self.folds == self.number
        return inside

    @property
    def scored(self) -> NDArray[np.int32]:
        """The positions of the rows that it is scored on: some of the parts."""
        return self.bins.used[self._inside]

    def outcome(self, settings: CandidateSettings, *, seed: int) -> Outcome:
        """Grow trees on all other rows, and predict those that it is scored on."""
        assert isinstance(settings, LightGBMSettings), "rows on disk are for LightGBM alone"
        rows, scored = self.bins.rows, self.scored
        model = self.grow(self.bins.used[~self._inside], settings, seed)
        predicted = _predict(FittedModel(rows.problem, self.bins.state, model), rows, scored)
        return Outcome(rows.problem, rows.target[scored], predicted)


def make_folds(bins: Bins, grow: Grow, folds: int) -> list[StoredFold]:
    """Folds of the ten parts.

    Raises:
        UserError: there are more folds than parts of the table, or one holds no row of a class.
    """
    if not 2 <= folds <= PARTS:
        raise UserError(f"{folds} folds: a table this large has from 2 to {PARTS}; --set folds={PARTS}.")
    made = [StoredFold(bins, grow, number, folds) for number in range(folds)]
    target, classes = bins.rows.target, bins.rows.problem.classes
    for fold in made:
        if not len(fold.scored):
            raise UserError(f"Fold {fold.number + 1} of {folds} has no rows; bring more, or lower 'folds'.")
        counts = np.bincount(target[fold.scored].astype(int), minlength=len(classes)) if classes else ()
        for position in np.flatnonzero(np.equal(counts, 0)):
            raise UserError(
                f"Fold {fold.number + 1} of {folds} has no row of the class '{classes[position]}'; bring "
                "more rows, or take the class out of the contract."
            )
    return made


def cross_validate(
    name: str, settings: CandidateSettings, folds: list[StoredFold], *, seed: int
) -> tuple[CandidateResult, pd.DataFrame]:
    """Fit and score a candidate on every fold, one after the other: each fit takes all processors.

    Returns:
        The result, of all rows, and the out-of-fold predictions of up to a million rows, evenly spread: as
        `millrace.selection.cross_validate` has them.
    """
    started = time.perf_counter()
    bins = folds[0].bins
    kept = np.zeros(bins.rows.rows, dtype=np.bool_)
    kept[bins.used[_evenly(len(bins.used), CALIBRATED)]] = True
    metrics, tables = [], []
    for fold in folds:
        outcome, scored = fold.outcome(settings, seed=seed), fold.scored
        metrics.append(compute_metrics(outcome))
        inside = kept[scored]
        known = Outcome(outcome.problem, outcome.target[inside], outcome.predicted[inside])
        tables.append(out_of_fold_table(fold.number, scored[inside].astype(np.int64), known))
    result = CandidateResult(
        candidate=name,
        metric_name=PRIMARY[bins.rows.problem.task],
        folds=tuple(metrics),
        seconds=time.perf_counter() - started,
    )
    return result, pd.concat(tables).sort_values("row", ignore_index=True)


def known_folds(out_of_fold: pd.DataFrame, folds: int) -> list[Fold]:
    """The folds of the rows in a table of out-of-fold predictions, by their place in it."""
    of = out_of_fold["fold"].to_numpy()
    return [(np.flatnonzero(of != number), np.flatnonzero(of == number)) for number in range(folds)]


def conclude(bins: Bins, model: LightGBMModel, out_of_fold: pd.DataFrame) -> FittedModel:
    """The model with the threshold and the intervals that its out-of-fold predictions give."""
    problem = bins.rows.problem
    intervals = fit_intervals(read_out_of_fold(out_of_fold, problem), out_of_fold["row"].to_numpy())
    return FittedModel(problem, bins.state, model, threshold_for(out_of_fold, problem), intervals)


def train(stored: Stored, settings: LightGBMSettings, *, folds: int, seed: int, threads: int) -> Trained:
    """Cross-validate the settings, fit them on all training rows, and score the holdout.

    Raises:
        UserError: there are more folds than parts of the table.
    """
    bins = Bins.of(stored.training)
    grow = grow_here(bins, threads)
    result, out_of_fold = cross_validate("lightgbm", settings, make_folds(bins, grow, folds), seed=seed)
    fitted = conclude(bins, grow(bins.used, settings, seed), out_of_fold)
    return Trained(fitted, result, score(fitted, stored.holdout))


def score(fitted: FittedModel, rows: StoredRows) -> dict[str, float]:
    """The metrics of a model on stored rows that it was not fitted on."""
    predicted = _predict(fitted, rows, np.arange(rows.rows, dtype=np.int32))
    return compute_metrics(Outcome(rows.problem, rows.target, predicted, fitted.threshold))


def _predict(fitted: FittedModel, rows: StoredRows, positions: NDArray[np.int32]) -> Floats:
    """Values [positions], or probabilities [positions, classes]; the positions rise."""
    classes = len(rows.problem.classes)
    predicted = np.empty((len(positions), classes) if classes else len(positions))
    scorer = Scorer(fitted)
    # Which takes as long as LightGBM does for a batch.
    if len(positions) > BATCH:
        scorer.compile(rows.inputs(0, PROOF))
    starts = range(0, rows.rows, BATCH)
    edges = np.searchsorted(positions, [*starts, rows.rows]).tolist()

    def answer(number: int) -> tuple[int, Floats]:
        first, last = edges[number : number + 2]
        start = starts[number]
        return first, scorer.predict(rows.inputs(start, start + BATCH)[positions[first:last] - start])

    for first, answers in as_they_come(answer, [i for i, _ in enumerate(starts) if edges[i] < edges[i + 1]]):
        predicted[first : first + len(answers)] = answers
    return predicted


def _evenly(count: int, most: int) -> NDArray[np.int64]:
    """Positions of at most so many of `count` things, evenly spread."""
    return np.arange(0, count, -(-count // most), dtype=np.int64)


def _take(rows: StoredRows, positions: NDArray[np.int64]) -> Matrix:
    """The inputs of some rows, in order."""
    found = []
    for start, inputs in rows.batches():
        inside = positions[(positions >= start) & (positions < start + len(inputs))]
        found.append(inputs[inside - start])
    return np.concatenate(found)


def _sequence(bins: Bins) -> Any:
    """The rows as LightGBM asks for them: single ones for the bins' edges, in order, then all by blocks."""
    import lightgbm

    class Rows(lightgbm.Sequence):  # type: ignore[misc]
        batch_size = BATCH

        def __init__(self) -> None:
            self.start, self.block = 0, np.empty((0, len(bins.state.columns)))

        def __len__(self) -> int:
            return bins.rows.rows

        def __getitem__(self, asked: int | slice) -> Matrix:
            if isinstance(asked, slice):
                return bins.matrix(asked.start, asked.stop)
            if not self.start <= asked < self.start + len(self.block):
                self.start = asked - asked % BATCH
                self.block = bins.matrix(self.start, self.start + BATCH)
            return np.asarray(self.block[asked - self.start])

    return Rows()
