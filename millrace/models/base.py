"""What every model does."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from millrace.contract import Problem, Task
from millrace.features import FeatureState, encode_inputs, encode_target, encoded, fit_features
from millrace.scales import to_model
from millrace.splitting import parts
from millrace.transforms import Matrix

if TYPE_CHECKING:
    import lightgbm


@dataclass(frozen=True)
class TrainingRows:
    """What a model is fitted on: the matrix, the encoded target in its own unit, and how both were made.

    `parts` [rows] are those of `millrace.splitting`, needed to fit the features anew on some rows.
    """

    matrix: Matrix
    target: NDArray[np.float64]
    problem: Problem
    state: FeatureState
    parts: NDArray[np.int64]

    @classmethod
    def of(cls, table: pd.DataFrame, problem: Problem) -> "TrainingRows":
        """Fit the features on a typed table and take all of its rows."""
        inputs = encode_inputs(table, encoded(problem))
        target = encode_target(table[problem.target.name], problem)
        return cls._fitted(inputs, target, problem, parts(table, problem))

    @classmethod
    def _fitted(
        cls, inputs: Matrix, target: NDArray[np.float64], problem: Problem, parts: NDArray[np.int64]
    ) -> "TrainingRows":
        state, matrix = fit_features(inputs, target, parts, problem)
        return cls(matrix, target, problem, state, parts)

    @property
    def inputs(self) -> Matrix:
        """The contract's columns alone, encoded: [rows, inputs]."""
        return self.matrix[:, : len(self.state.inputs)]

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

    @property
    def monotonic(self) -> list[int]:
        """For each column of the matrix: 1 where predictions may not fall along it, -1 rise, 0 free."""
        return [self.problem.monotonic.get(name, 0) for name in self.state.names]

    def take(self, rows: NDArray[np.int64]) -> "TrainingRows":
        """Some of the rows; what the state learns from rows, it learns from these alone."""
        return self._fitted(self.inputs[rows], self.target[rows], self.problem, self.parts[rows])


@runtime_checkable
class Model(Protocol):
    """A fitted model. Its class also has `fit(settings, rows, seed, threads)` and `load(...)`.

    A class that keeps to `rows.monotonic` says so by `keeps_monotonic = True`; others are left out where
    the contract asks for it.
    """

    kind: str

    def predict(self, matrix: Matrix) -> NDArray[np.float64]:
        """Regression: values [rows] on the scale it learnt. Classification: probabilities [rows, classes]."""

    def save(self, folder: Path) -> None:
        """Write plain files into `folder`, the same bytes for the same model."""


class TreeModel(ABC):
    """A model whose answers are made of what trees say, and these are LightGBM's or can be."""

    @property
    @abstractmethod
    def trees(self) -> "lightgbm.Booster":
        """The trees; made once."""

    def read(self, matrix: Matrix) -> Matrix:
        """What the trees read [rows, features] of the matrix."""
        return matrix

    @abstractmethod
    def answer(self, told: Matrix) -> NDArray[np.float64]:
        """What `predict` returns, from what the trees tell of rows: [rows, outputs]."""

    def by_trees(self, matrix: Matrix) -> NDArray[np.float64]:
        """The answers that the trees make."""
        told = np.asarray(self.trees.predict(self.read(matrix)), dtype=np.float64)
        return self.answer(told.reshape(len(matrix), -1))


def two_classes(chances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of both classes [rows, 2] from those of the second [rows]."""
    both = np.empty((len(chances), 2))
    both[:, 0], both[:, 1] = 1 - chances, chances
    return both


def probabilities(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities [rows, classes] from log-odds: of the second of two classes [rows, 1], or of each."""
    from scipy.special import expit

    if odds.shape[1] == 1:
        return two_classes(expit(odds[:, 0]))
    raised = np.exp(odds - odds.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def need_torch(kind: str) -> None:
    """See that what candidates of `kind` learn with is installed, before anything is done.

    Raises:
        ValueError: it is not.
    """
    if find_spec("torch") is None:
        raise ValueError(
            f"a candidate of kind '{kind}' needs PyTorch, which is not installed; run `make torch`, or take "
            "the candidate out"
        )
