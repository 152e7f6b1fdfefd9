"""Ridge regression and logistic regression of scikit-learn, stored by skops."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from millrace.contract import Task
from millrace.features import FeatureState
from millrace.models import skops_files
from millrace.models.base import TrainingRows, probabilities
from millrace.strict import Strict
from millrace.transforms import Matrix

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


class LinearSettings(Strict):
    """`alpha` is the strength of the L2 penalty, on standardised columns."""

    kind: Literal["linear"] = "linear"
    alpha: float = Field(1.0, gt=0, allow_inf_nan=False)


class LinearModel:
    """A linear model on the dense matrix, its numbers standardised."""

    kind = "linear"

    def __init__(self, pipeline: "Pipeline", task: Task, state: FeatureState) -> None:
        self.pipeline = pipeline
        self.task = task
        self.state = state

    @classmethod
    def fit(cls, settings: LinearSettings, rows: TrainingRows, *, seed: int, threads: int) -> "LinearModel":
        from sklearn.compose import ColumnTransformer
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.pipeline import Pipeline
        from sklearn.preprocessing import StandardScaler

        # The dense matrix begins with the numbers; what follows is 0 or 1 and is centred only, as a rare
        # category that is scaled up would escape the penalty. The means are what an explanation starts
        # from.
        numbers, columns = len(rows.state.filled), len(rows.state.dense_sources)
        scale = ColumnTransformer(
            [
                ("numbers", StandardScaler(), list(range(numbers))),
                ("flags", StandardScaler(with_std=False), list(range(numbers, columns))),
            ]
        )
        estimator = (
            Ridge(alpha=settings.alpha)
            if rows.task == "regression"
            else LogisticRegression(C=1 / settings.alpha, max_iter=2000)
        )
        pipeline = Pipeline([("scale", scale), ("estimate", estimator)])
        pipeline.fit(rows.state.dense(rows.matrix), rows.learnt, estimate__sample_weight=rows.weights)
        return cls(pipeline, rows.task, rows.state)

    @cached_property
    def coefficients(self) -> tuple[Matrix, NDArray[np.float64]]:
        """Coefficients [columns of the dense matrix, outputs], and intercepts [outputs]."""
        estimator = self.pipeline.steps[1][1]
        intercepts = np.atleast_1d(np.asarray(estimator.intercept_, dtype=np.float64))
        return np.ascontiguousarray(np.atleast_2d(estimator.coef_).T), intercepts

    @cached_property
    def _scales(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The mean and the scale of each column of the dense matrix."""
        parts = [scaler for _, scaler, columns in self.pipeline.steps[0][1].transformers_ if len(columns)]
        means = [part.mean_ for part in parts]
        scales = [np.ones_like(part.mean_) if part.scale_ is None else part.scale_ for part in parts]
        return np.concatenate(means), np.concatenate(scales)

    def scaled(self, matrix: Matrix) -> Matrix:
        """The dense matrix as the estimator reads it, with mean 0 on the training rows."""
        means, scales = self._scales
        found: Matrix = (self.state.dense(matrix) - means) / scales
        return found

    def predict(self, matrix: Matrix) -> NDArray[np.float64]:
        """By the fitted numbers alone: scikit-learn's checks take a hundred times as long for a row."""
        coefficients, intercepts = self.coefficients
        told = self.scaled(matrix) @ coefficients + intercepts
        return told[:, 0] if self.task == "regression" else probabilities(told)

    def save(self, folder: Path) -> None:
        skops_files.save(self.pipeline, folder)

    @classmethod
    def load(cls, folder: Path, task: Task, state: FeatureState) -> "LinearModel":
        return cls(skops_files.load(folder), task, state)
