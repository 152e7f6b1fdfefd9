"""Ridge regression and logistic regression of scikit-learn, stored as the fitted numbers in JSON."""

import json
from dataclasses import dataclass
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

FILE = "linear.json"
NUMBERS = ("means", "scales", "coefficients", "intercepts")


class LinearSettings(Strict):
    """`alpha` is the strength of the L2 penalty, on standardised columns."""

    kind: Literal["linear"] = "linear"
    alpha: float = Field(1.0, gt=0, allow_inf_nan=False)


def fit_pipeline(settings: LinearSettings, rows: TrainingRows) -> "Pipeline":
    """Scaling and estimator of scikit-learn, fitted on the dense matrix."""
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
    return pipeline


@dataclass(eq=False)
class LinearModel:
    """A linear model on the dense matrix, its numbers standardised.

    `means` and `scales` [columns of the dense matrix], `coefficients` [outputs, columns] of what is scaled,
    `intercepts` [outputs].
    """

    kind = "linear"

    means: NDArray[np.float64]
    scales: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    intercepts: NDArray[np.float64]
    task: Task
    state: FeatureState

    @classmethod
    def fit(cls, settings: LinearSettings, rows: TrainingRows, *, seed: int, threads: int) -> "LinearModel":
        return cls.of(fit_pipeline(settings, rows), rows.task, rows.state)

    @classmethod
    def of(cls, pipeline: "Pipeline", task: Task, state: FeatureState) -> "LinearModel":
        """What `fit_pipeline` has found."""
        scaling, estimator = (step for _, step in pipeline.steps)
        parts = [scaler for _, scaler, columns in scaling.transformers_ if len(columns)]
        scales = [np.ones_like(part.mean_) if part.scale_ is None else part.scale_ for part in parts]
        return cls(
            means=np.concatenate([part.mean_ for part in parts]),
            scales=np.concatenate(scales),
            coefficients=np.atleast_2d(estimator.coef_),
            intercepts=np.atleast_1d(np.asarray(estimator.intercept_, dtype=np.float64)),
            task=task,
            state=state,
        )

    def scaled(self, matrix: Matrix) -> Matrix:
        """The dense matrix as the estimator reads it, with mean 0 on the training rows."""
        found: Matrix = (self.state.dense(matrix) - self.means) / self.scales
        return found

    def predict(self, matrix: Matrix) -> NDArray[np.float64]:
        """By the fitted numbers alone: scikit-learn's checks take a hundred times as long for a row."""
        told = self.scaled(matrix) @ self.coefficients.T + self.intercepts
        return told[:, 0] if self.task == "regression" else probabilities(told)

    def save(self, folder: Path) -> None:
        numbers = {name: getattr(self, name).tolist() for name in NUMBERS}
        (folder / FILE).write_text(json.dumps(numbers, allow_nan=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, task: Task, state: FeatureState) -> "LinearModel":
        if not (folder / FILE).is_file():
            # As bundles once kept it.
            return cls.of(skops_files.load(folder), task, state)
        numbers = json.loads((folder / FILE).read_bytes())
        return cls(**{name: np.array(numbers[name]) for name in NUMBERS}, task=task, state=state)
