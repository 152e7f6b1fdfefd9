"""From typed columns to the matrix a model learns from, the same way in training and serving.

The fitted state is JSON in the bundle. Numbers stay as they are, booleans become 0 and 1,
datetimes seconds since 1970, categories their position in the contract's list. What is missing
or unseen becomes NaN.
"""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from millrace.contract import Problem, Strict

Matrix = NDArray[np.float64]


class Columns(Protocol):
    """Equally long columns by name: a dict of sequences, or a DataFrame."""

    def __getitem__(self, name: str, /) -> Any:
        """One column's values."""


class Input(Strict):
    """One column of the matrix."""

    name: str
    kind: Literal["numeric", "boolean", "datetime", "category"]
    categories: tuple[str, ...] = ()
    fill: float
    """What stands for a missing value in models that need one: median, or most frequent code."""


class FeatureState(Strict):
    """How the matrix is made, fitted on training rows only."""

    inputs: tuple[Input, ...]

    @property
    def names(self) -> list[str]:
        """The matrix' column names, in order."""
        return [column.name for column in self.inputs]

    @property
    def categorical(self) -> list[int]:
        """Positions of the columns that hold category codes."""
        return [i for i, column in enumerate(self.inputs) if column.kind == "category"]

    def transform(self, columns: Columns) -> Matrix:
        """Encode typed columns (a mapping of names to equally long sequences) as [rows, inputs]."""
        matrix = np.empty((_length(columns, self.names), len(self.inputs)), dtype=np.float64)
        for position, column in enumerate(self.inputs):
            matrix[:, position] = _encode(columns[column.name], column.kind, column.categories)
        return matrix

    def fill(self, matrix: Matrix) -> Matrix:
        """Replace NaN by each column's fitted fill value."""
        return np.where(np.isnan(matrix), np.array([column.fill for column in self.inputs]), matrix)


def fit_features(columns: Columns, problem: Problem) -> FeatureState:
    """Learn the state from the training rows' typed columns."""
    inputs = []
    for name, column in problem.inputs.items():
        kind: Any = column.type if column.type in ("boolean", "datetime", "category") else "numeric"
        values = _encode(columns[name], kind, column.categories)
        known = values[~np.isnan(values)]
        if not len(known):
            fill = 0.0
        elif kind in ("numeric", "datetime"):
            fill = float(np.median(known))
        else:
            fill = float(np.bincount(known.astype(int)).argmax())
        inputs.append(Input(name=name, kind=kind, categories=column.categories, fill=fill))
    return FeatureState(inputs=tuple(inputs))


def encode_target(values: Any, problem: Problem) -> Matrix:
    """The target as floats: the value itself, or the class' position in `problem.classes`."""
    if problem.target.type == "boolean":
        return _encode(values, "boolean", ())
    return _encode(values, "category" if problem.classes else "numeric", problem.classes)


def _encode(values: Any, kind: str, categories: Sequence[str]) -> Matrix:
    if kind == "category":
        array = pa.array(values, type=pa.string(), from_pandas=True)
        codes = pc.index_in(array, value_set=pa.array(categories, type=pa.string()))
        return np.asarray(codes.to_numpy(zero_copy_only=False), dtype=np.float64)
    if kind == "datetime":
        moments = np.asarray(values, dtype="datetime64[us]")
        seconds = moments.astype(np.int64) / 1e6
        return np.where(np.isnat(moments), np.nan, seconds)
    if kind == "boolean":
        array = pa.array(values, type=pa.bool_(), from_pandas=True).cast(pa.float64())
        return np.asarray(array.to_numpy(zero_copy_only=False), dtype=np.float64)
    return np.asarray(values, dtype=np.float64)


def _length(columns: Columns, names: Sequence[str]) -> int:
    return len(columns[names[0]])
