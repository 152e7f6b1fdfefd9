"""Cross-validation of candidates, and the choice among them."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from millrace.bundle import FittedModel
from millrace.comparison import standing
from millrace.contract import Problem
from millrace.decisions import DEFAULT, choose_threshold
from millrace.errors import UserError
from millrace.features import encode_target
from millrace.metrics import PRIMARY, Floats, Outcome, compute_metrics
from millrace.models import CandidateSettings, Matrix, TrainingRows, fit_model
from millrace.splitting import group_hashes, moments
from millrace.strict import Strict

Fold = tuple[NDArray[Any], NDArray[Any]]
PREDICTION = "prediction_"


@dataclass(frozen=True)
class FoldRows:
    """A fold made ready to be fitted on: its features learnt from its fit rows alone.

    `matrix` [rows, columns] and `target` [rows] are those of its validation rows.
    """

    fit: TrainingRows
    matrix: Matrix
    target: Floats

    @classmethod
    def of(cls, rows: TrainingRows, fold: Fold) -> "FoldRows":
        """Learn the features of a fold."""
        fit_rows, validation = fold
        part = rows.take(fit_rows)
        return cls(part, part.state.expand(rows.inputs[validation]), rows.target[validation])

    def outcome(self, settings: CandidateSettings, *, seed: int) -> Outcome:
        """Fit a candidate, with one thread, and predict the validation rows."""
        model = fit_model(settings, self.fit, seed=seed, threads=1)
        fitted = FittedModel(self.fit.problem, self.fit.state, model)
        return Outcome(self.fit.problem, self.target, fitted.predict_matrix(self.matrix))


class CandidateResult(Strict):
    """How one candidate did: the metrics of each fold, labels from 0.5 on, and the wall time of all.

    `p_value` is that of the chosen candidate's being better, once they are compared; the chosen one has
    none. `weights` are those of a blend's members, and empty for every other candidate.
    """

    candidate: str
    metric_name: str
    folds: tuple[dict[str, float], ...]
    seconds: float
    p_value: float | None = None
    weights: dict[str, float] = Field(default_factory=dict)

    @property
    def scores(self) -> list[float]:
        """The primary metric, one value a fold."""
        return [fold[self.metric_name] for fold in self.folds]

    @property
    def metric(self) -> float:
        """The mean over the folds."""
        return float(np.mean(self.scores))

    @property
    def std(self) -> float:
        """The standard deviation over the folds."""
        return float(np.std(self.scores, ddof=1))

    @property
    def standing(self) -> str:
        """The place beside the chosen one, in words."""
        return standing(self.p_value)


def make_folds(training: pd.DataFrame, problem: Problem, folds: int, seed: int) -> list[Fold]:
    """Folds of a typed table as (fit rows, validation rows), under the rule that parts the holdout.

    By rows: seeded, stratified for classes. By group: the same, with no group on both sides. By time:
    each fold is fitted on all that came before the rows it is scored on.

    Raises:
        UserError: too few rows, groups or moments, or a class that a fold could not learn.
    """
    target = encode_target(training[problem.target.name], problem)
    _check_counts(target, problem, folds)
    by, column = problem.split.by, problem.split.column
    if by == "time":
        assert column is not None
        made = _by_time(moments(training, column, problem), column, folds)
    elif by == "group":
        assert column is not None
        made = _by_group(group_hashes(training, column), target, problem, folds, seed)
    else:
        from sklearn.model_selection import KFold, StratifiedKFold

        make = StratifiedKFold if problem.classes else KFold
        made = list(make(n_splits=folds, shuffle=True, random_state=seed).split(target, target))
    for number, (fit_rows, _) in enumerate(made, 1):
        for position in sorted(set(range(len(problem.classes))) - set(target[fit_rows].astype(int))):
            raise UserError(
                f"Fold {number} of {folds}, made by {by}, has no row of the class "
                f"'{problem.classes[position]}' to learn from; lower the number with --set folds=..., "
                "bring more rows, or take the class out of the contract."
            )
    return made


def make_repeated_folds(
    training: pd.DataFrame, problem: Problem, folds: int, repeats: int, seed: int
) -> list[Fold]:
    """The folds of `repeats` seeds from `seed` on, one after the other. A split by time has no repeats.

    Raises:
        UserError: as `make_folds`.
    """
    return [fold for repeat in range(repeats) for fold in make_folds(training, problem, folds, seed + repeat)]


def cross_validate(
    name: str,
    settings: CandidateSettings,
    rows: TrainingRows,
    folds: list[Fold],
    *,
    seed: int,
    threads: int,
) -> tuple[CandidateResult, pd.DataFrame]:
    """Fit and score a candidate on every fold, as many at once as there are threads.

    Threads, not processes: LightGBM and scikit-learn's trees release the interpreter lock, and
    nothing is copied. Each fit uses one thread, so results do not depend on the machine.

    Returns:
        The result, and the out-of-fold predictions: a row for each validated training row, with its
        position (`row`), `fold`, encoded `target` and a column `prediction_<output>` for each output.
        Of repeated folds every prediction is there, each row as often; the first of a row is that of the
        first repeat.
    """
    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        outcomes = list(pool.map(lambda fold: FoldRows.of(rows, fold).outcome(settings, seed=seed), folds))
    result = CandidateResult(
        candidate=name,
        metric_name=PRIMARY[rows.task],
        folds=tuple(compute_metrics(outcome) for outcome in outcomes),
        seconds=time.perf_counter() - started,
    )
    parts = [
        out_of_fold_table(number, validation, outcome)
        for number, ((_, validation), outcome) in enumerate(zip(folds, outcomes, strict=True))
    ]
    return result, pd.concat(parts).sort_values(["row", "fold"], ignore_index=True)


def out_of_fold_table(number: int, rows: NDArray[Any], outcome: Outcome) -> pd.DataFrame:
    """A fold's part of the out-of-fold predictions, as `cross_validate` describes them."""
    outputs = outcome.predicted.reshape(len(rows), -1).T
    columns = {f"{PREDICTION}{output}": values for output, values in enumerate(outputs)}
    return pd.DataFrame({"row": rows, "fold": number, "target": outcome.target, **columns})


def read_out_of_fold(table: pd.DataFrame, problem: Problem, threshold: float = DEFAULT) -> Outcome:
    """The out-of-fold predictions that `cross_validate` returns, as an outcome."""
    predicted = table[[name for name in table if str(name).startswith(PREDICTION)]].to_numpy()
    return Outcome(
        problem, table["target"].to_numpy(), predicted if problem.classes else predicted[:, 0], threshold
    )


def threshold_for(out_of_fold: pd.DataFrame, problem: Problem) -> float:
    """From which probability on the positive class is answered: by `costs`, or 0.5 without."""
    if problem.costs is None:
        return DEFAULT
    outcome = read_out_of_fold(out_of_fold, problem)
    return choose_threshold(outcome.target, outcome.predicted[:, 1], problem.costs)


def _check_counts(target: Floats, problem: Problem, folds: int) -> None:
    count, what = len(target), "training rows"
    if problem.classes:
        count = int(np.bincount(target.astype(int), minlength=len(problem.classes)).min())
        what = "training rows in the smallest class"
        if count < 2:
            raise UserError(
                f"The smallest class has {count} training rows; at least 2 of each are needed. Bring more "
                "rows or take the class out of the contract."
            )
    if count < folds:
        raise _too_few(f"{count} {what}", folds, count)


def _by_group(
    groups: NDArray[np.uint64], target: Floats, problem: Problem, folds: int, seed: int
) -> list[Fold]:
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    count = len(np.unique(groups))
    if count < folds:
        raise _too_few(f"{count} groups of '{problem.split.column}' among the training rows", folds, count)
    make = StratifiedGroupKFold if problem.classes else GroupKFold
    splitter = make(n_splits=folds, shuffle=True, random_state=seed)
    return list(splitter.split(target, target, groups))


def _by_time(times: Floats, column: str, folds: int) -> list[Fold]:
    """scikit-learn's TimeSeriesSplit over the moments, so that rows of one moment stay together."""
    from sklearn.model_selection import TimeSeriesSplit

    distinct, places = np.unique(times, return_inverse=True)
    if len(distinct) <= folds:
        found = f"{len(distinct)} different moments of '{column}' among the training rows"
        raise _too_few(found, folds, len(distinct) - 1)
    return [
        (np.flatnonzero(places <= past[-1]), np.flatnonzero((places >= now[0]) & (places <= now[-1])))
        for past, now in TimeSeriesSplit(n_splits=folds).split(distinct)
    ]


def _too_few(found: str, folds: int, possible: int) -> UserError:
    what = f" or lower the number: --set folds={possible}" if possible >= 2 else ""
    return UserError(f"{found} cannot fill {folds} folds; bring more rows{what}.")
