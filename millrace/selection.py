"""Cross-validation of candidates, and the choice among them."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.contract import Strict, Task
from millrace.errors import UserError
from millrace.metrics import LOWER_IS_BETTER, PRIMARY, compute_metrics
from millrace.models import CandidateSettings, TrainingRows, fit_model


class CandidateResult(Strict):
    """How one candidate did: the primary metric of each fold, and the wall time of all."""

    candidate: str
    metric_name: str
    folds: tuple[dict[str, float], ...]
    seconds: float

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


def make_folds(rows: TrainingRows, folds: int, seed: int) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Seeded folds as (fit rows, validation rows), stratified for classes.

    Raises:
        UserError: fewer rows, or fewer of one class, than folds.
    """
    from sklearn.model_selection import KFold, StratifiedKFold

    count = len(rows.target)
    if rows.task != "regression":
        count = int(np.bincount(rows.target.astype(int), minlength=rows.classes).min())
    if count < 2 and rows.task != "regression":
        raise UserError(
            f"The smallest class has {count} training rows; at least 2 of each are needed. Bring more rows "
            "or take the class out of the contract."
        )
    if count < folds:
        what = "training rows" if rows.task == "regression" else "training rows in the smallest class"
        raise UserError(
            f"{count} {what} cannot fill {folds} folds; bring more rows or lower the number: "
            f"--set folds={max(count, 2)}."
        )
    make = KFold if rows.task == "regression" else StratifiedKFold
    splitter = make(n_splits=folds, shuffle=True, random_state=seed)
    return list(splitter.split(rows.matrix, rows.target))


def cross_validate(
    name: str,
    settings: CandidateSettings,
    rows: TrainingRows,
    *,
    folds: int,
    seed: int,
    threads: int,
) -> CandidateResult:
    """Fit and score a candidate on every fold, as many at once as there are threads.

    Threads, not processes: LightGBM and scikit-learn's trees release the interpreter lock, and
    nothing is copied. Each fit uses one thread, so results do not depend on the machine.
    """
    started = time.perf_counter()

    def run(fold: tuple[NDArray[Any], NDArray[Any]]) -> dict[str, float]:
        fit_rows, validation = fold
        model = fit_model(settings, rows.take(fit_rows), seed=seed, threads=1)
        return compute_metrics(rows.task, rows.target[validation], model.predict(rows.matrix[validation]))

    with ThreadPoolExecutor(threads) as pool:
        scores = tuple(pool.map(run, make_folds(rows, folds, seed)))
    return CandidateResult(
        candidate=name,
        metric_name=PRIMARY[rows.task],
        folds=scores,
        seconds=time.perf_counter() - started,
    )


def leaderboard(results: list[CandidateResult], task: Task) -> list[CandidateResult]:
    """The candidates from best to worst by the mean of the primary metric."""
    sign = 1 if PRIMARY[task] in LOWER_IS_BETTER else -1
    return sorted(results, key=lambda result: sign * result.metric)
