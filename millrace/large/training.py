"""LightGBM on stored rows: a byte a value in memory, whatever the table was."""

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from millrace.bundle import FittedModel, read_json, write_json
from millrace.decisions import DEFAULT, choose_threshold
from millrace.errors import UserError
from millrace.features import FeatureState, fit_features
from millrace.intervals import fit_intervals
from millrace.large.rows import BATCH, Stored, StoredRows
from millrace.metrics import Floats, Outcome, compute_metrics
from millrace.models import TrainingRows
from millrace.models.boosting import LightGBMModel, LightGBMSettings, parameters
from millrace.scoring import Scorer
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
    """A model, the metrics of its folds, and those on the holdout."""

    fitted: FittedModel
    folds: tuple[dict[str, float], ...]
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


def train(stored: Stored, settings: LightGBMSettings, *, folds: int, seed: int, threads: int) -> Trained:
    """Cross-validate the settings, fit them on all training rows, and score the holdout.

    Raises:
        UserError: there are more folds than parts of the table.
    """
    if not 2 <= folds <= PARTS:
        raise UserError(f"{folds} folds: a table this large has from 2 to {PARTS}.")
    bins = Bins.of(stored.training)
    data = bins.dataset().construct()
    predicted, scores = _cross_validated(bins, data, settings, folds, seed, threads)
    outcome = _outcome(bins.rows, predicted)
    known = bins.used[_evenly(len(bins.used), CALIBRATED)]
    calibrated = Outcome(outcome.problem, outcome.target[known], outcome.predicted[known])
    intervals = fit_intervals(calibrated, known.astype(np.int64))
    costs, threshold = bins.rows.problem.costs, DEFAULT
    if costs is not None:
        threshold = choose_threshold(calibrated.target, calibrated.predicted[:, 1], costs)
    model = grow(bins, data, bins.used, settings, seed=seed, threads=threads)
    fitted = FittedModel(bins.rows.problem, bins.state, model, threshold, intervals)
    return Trained(fitted, tuple(scores), score(fitted, stored.holdout))


def grow(
    bins: Bins,
    data: "lightgbm.Dataset",
    rows: NDArray[np.int32],
    settings: LightGBMSettings,
    *,
    seed: int,
    threads: int,
) -> LightGBMModel:
    """Trees on some of the rows."""
    import lightgbm

    part = data if len(rows) == bins.rows.rows else bins.subset(data, rows)
    told = parameters(settings, bins.about, len(rows), seed=seed, threads=threads)
    return LightGBMModel(lightgbm.train(told, part, settings.n_estimators), bins.about.task)


def score(fitted: FittedModel, rows: StoredRows) -> dict[str, float]:
    """The metrics of a model on stored rows that it was not fitted on."""
    scorer, predicted = _scorer(fitted, rows), _blank(rows)

    def answer(start: int) -> tuple[int, Floats]:
        return start, scorer.predict(rows.inputs(start, start + BATCH))

    for start, answers in as_they_come(answer, range(0, rows.rows, BATCH)):
        predicted[start : start + len(answers)] = answers
    outcome = _outcome(rows, predicted)
    return compute_metrics(Outcome(outcome.problem, outcome.target, outcome.predicted, fitted.threshold))


def _cross_validated(
    bins: Bins,
    data: "lightgbm.Dataset",
    settings: LightGBMSettings,
    folds: int,
    seed: int,
    threads: int,
) -> tuple[Floats, list[dict[str, float]]]:
    """Out-of-fold predictions of all rows, and the metrics of each fold; a fold is some of the parts."""
    rows, of = bins.rows, bins.rows.parts % folds
    predicted, scores = _blank(rows), []
    for fold in range(folds):
        fit = bins.used[of[bins.used] != fold]
        model = grow(bins, data, fit, settings, seed=seed, threads=threads)
        scorer = _scorer(FittedModel(rows.problem, bins.state, model), rows)

        def answer(start: int, fold: int = fold, scorer: Scorer = scorer) -> tuple[int, Floats]:
            inside = of[start : start + BATCH] == fold
            return start, scorer.predict(rows.inputs(start, start + BATCH)[inside])

        for start, answers in as_they_come(answer, range(0, rows.rows, BATCH)):
            predicted[start : start + BATCH][of[start : start + BATCH] == fold] = answers
        mine = bins.used[of[bins.used] == fold]
        outcome = _outcome(rows, predicted)
        scores.append(compute_metrics(Outcome(rows.problem, outcome.target[mine], outcome.predicted[mine])))
    return predicted, scores


def _blank(rows: StoredRows) -> Floats:
    classes = len(rows.problem.classes)
    return np.empty((rows.rows, classes) if classes else rows.rows)


def _outcome(rows: StoredRows, predicted: Floats) -> Outcome:
    return Outcome(rows.problem, rows.target, predicted)


def _scorer(fitted: FittedModel, rows: StoredRows) -> Scorer:
    scorer = Scorer(fitted)
    scorer.compile(rows.inputs(0, PROOF))
    return scorer


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
