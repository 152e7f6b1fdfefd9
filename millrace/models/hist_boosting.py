"""Histogram gradient boosting of scikit-learn."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from millrace import as_lightgbm
from millrace.models.base import TrainingRows, probabilities
from millrace.models.grown import GrownModel
from millrace.strict import Strict
from millrace.transforms import Matrix

if TYPE_CHECKING:
    import lightgbm

# No column is binned finer; a category column with more of them is read as numbers.
MAX_CATEGORIES = 255
# For fewer rows, waking a second thread for every tree costs more than it saves.
ROWS_FOR_THREADS = 50_000


class HistBoostingSettings(Strict):
    """Hyperparameters under scikit-learn's own names."""

    kind: Literal["hist_boosting"] = "hist_boosting"
    max_iter: int = Field(300, ge=1, le=20_000)
    learning_rate: float = Field(0.08, gt=0, le=1)
    max_leaf_nodes: int = Field(31, ge=2, le=4096)
    min_samples_leaf: int = Field(20, ge=1)
    max_features: float = Field(0.3, gt=0, le=1)
    l2_regularization: float = Field(0.0, ge=0, allow_inf_nan=False)


class HistBoostingModel(GrownModel):
    """Boosted trees that take missing values and categories as they are."""

    kind = "hist_boosting"
    # The last two are how scikit-learn encodes categories.
    trusted = (
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "functools.partial",
        "sklearn.utils.validation.check_array",
    )

    @classmethod
    def fit(
        cls, settings: HistBoostingSettings, rows: TrainingRows, *, seed: int, threads: int
    ) -> "HistBoostingModel":
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        parameters: dict[str, Any] = settings.model_dump(exclude={"kind"})
        # scikit-learn cannot bin a column without any value; one that is constant is never split on.
        matrix = np.where(np.isnan(rows.matrix).all(axis=0), 0.0, rows.matrix)
        parameters["categorical_features"] = [
            position
            for position in rows.state.categorical
            if len(np.unique(matrix[:, position])) <= MAX_CATEGORIES
        ]
        regression = rows.task == "regression"
        make = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
        booster = make(**parameters, early_stopping=False, random_state=seed)
        with _at_most(threads if len(matrix) >= ROWS_FOR_THREADS else 1):
            booster.fit(matrix, rows.learnt, sample_weight=rows.weights)
        return cls(booster, rows.task, rows.state)

    def converted(self) -> "lightgbm.Booster":
        return as_lightgbm.of_hist_boosting(self.estimator)

    def answer(self, told: Matrix) -> NDArray[np.float64]:
        return told[:, 0] if self.task == "regression" else probabilities(told)

    def asked(self, matrix: Matrix) -> NDArray[np.float64]:
        answer = self.estimator.predict if self.task == "regression" else self.estimator.predict_proba
        with _at_most(1) if len(matrix) < ROWS_FOR_THREADS else nullcontext():
            return np.asarray(answer(matrix), dtype=np.float64)


def _at_most(threads: int) -> AbstractContextManager[Any]:
    """Limits OpenMP in what this thread calls; scikit-learn has no argument for it."""
    limit: AbstractContextManager[Any] = _openmp().limit(limits=threads)
    return limit


@cache
def _openmp() -> Any:
    """The OpenMP that scikit-learn has loaded: looked for once, as that takes milliseconds."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="openmp")
