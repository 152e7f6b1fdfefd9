"""What every model does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from millrace.contract import Problem, Task
from millrace.features import FeatureState, Matrix
from millrace.scales import to_model


@dataclass(frozen=True)
class TrainingRows:
    """What a model is fitted on: the matrix, the encoded target in its own unit, and how both were made."""

    matrix: Matrix
    target: NDArray[np.float64]
    problem: Problem
    state: FeatureState

    @property
    def task(self) -> Task:
        """The problem's task."""
        return self.problem.task

    @property
    def learnt(self) -> NDArray[np.float64]:
        """The target on the scale that models learn it on."""
        return to_model(self.target, self.problem.target)

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """What each row counts, by its class; None if all count the same.

        "balanced" lets every class count the same in total: rows / (classes * rows of the class), as in
        scikit-learn.
        """
        given, classes = self.problem.class_weights, self.problem.classes
        if given is None:
            return None
        codes = self.target.astype(int)
        if given == "balanced":
            counts = np.bincount(codes, minlength=len(classes))
            by_class = len(codes) / (len(classes) * np.maximum(counts, 1))
        else:
            by_class = np.array([given.get(name, 1.0) for name in classes])
        return np.asarray(by_class[codes], dtype=np.float64)

    def take(self, rows: NDArray[np.int64]) -> "TrainingRows":
        """The same for some of the rows; what the state learns from rows, it learns from these alone."""
        matrix = self.matrix[rows]
        return TrainingRows(matrix, self.target[rows], self.problem, self.state.refitted(matrix))


@runtime_checkable
class Model(Protocol):
    """A fitted model. Its class also has `fit(settings, rows, seed, threads)` and `load(...)`."""

    kind: str

    def predict(self, matrix: Matrix) -> NDArray[np.float64]:
        """Regression: values [rows] on the scale it learnt. Classification: probabilities [rows, classes]."""

    def save(self, folder: Path) -> None:
        """Write plain files into `folder`, the same bytes for the same model."""
