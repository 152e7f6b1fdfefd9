"""What every model does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from millrace.contract import Task
from millrace.features import FeatureState, Matrix


@dataclass(frozen=True)
class TrainingRows:
    """What a model is fitted on: the matrix, the encoded target, and how both were made."""

    matrix: Matrix
    target: NDArray[np.float64]
    task: Task
    classes: int
    state: FeatureState

    def take(self, rows: NDArray[np.int64]) -> "TrainingRows":
        """The same for some of the rows."""
        return TrainingRows(self.matrix[rows], self.target[rows], self.task, self.classes, self.state)


@runtime_checkable
class Model(Protocol):
    """A fitted model. Its class also has `fit(settings, rows, seed, threads)` and `load(...)`."""

    kind: str

    def predict(self, matrix: Matrix) -> NDArray[np.float64]:
        """Regression: values [rows]. Classification: probabilities [rows, classes]."""

    def save(self, folder: Path) -> None:
        """Write plain files into `folder`, the same bytes for the same model."""
