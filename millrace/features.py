"""From typed columns to the matrix a model learns from, the same way in training and serving.

The fitted state is JSON in the bundle. Numbers stay as they are, booleans become 0 and 1,
datetimes seconds since 1970, categories their position in the contract's list. What is missing
or unseen becomes NaN. Trees that know NaN take this matrix; other models take the dense one made
from it.
"""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from millrace.contract import Problem, Strict

Matrix = NDArray[np.float64]
Kind = Literal["numeric", "boolean", "datetime", "category"]


class Columns(Protocol):
    """Equally long columns by name: a dict of sequences, or a DataFrame."""

    def __getitem__(self, name: str, /) -> Any:
        """One column's values."""


class Input(Strict):
    """One column of the matrix."""

    name: str
    kind: Kind
    categories: tuple[str, ...] = ()
    fill: float | None = None
    """What stands for a missing value in the dense matrix: the median, or the commoner of 0 and 1.
    None for categories, of which a missing one is no category: zero in all their columns."""
    gaps: bool = False
    """Whether a training row lacks the value; the dense matrix then says which do, in a column more."""


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

    @property
    def filled(self) -> list[int]:
        """Positions of the columns whose missing values are filled: all but the categories."""
        return [i for i, column in enumerate(self.inputs) if column.fill is not None]

    @property
    def dense_sources(self) -> list[int]:
        """For each column of the dense matrix, the position of the column that it was made from."""
        sources = self.filled
        for position, column in enumerate(self.inputs):
            sources += [position] * (len(column.categories) + column.gaps)
        return sources

    def transform(self, columns: Columns) -> Matrix:
        """Encode typed columns (a mapping of names to equally long sequences) as [rows, inputs]."""
        matrix = np.empty((_length(columns, self.names), len(self.inputs)), dtype=np.float64)
        for position, column in enumerate(self.inputs):
            matrix[:, position] = encode(columns[column.name], column.kind, column.categories)
        return matrix

    def dense(self, matrix: Matrix) -> Matrix:
        """The matrix without NaN, for models that need numbers: [rows, dense_sources].

        First the filled columns in order; then, input by input, a 0/1 column for each category and one
        for "missing".
        """
        fills = np.array([column.fill for column in self.inputs if column.fill is not None])
        numbers = matrix[:, self.filled]
        parts = [np.where(np.isnan(numbers), fills, numbers)]
        for position, column in enumerate(self.inputs):
            values = matrix[:, [position]]
            parts.append((values == np.arange(len(column.categories))).astype(np.float64))
            if column.gaps:
                parts.append(np.isnan(values).astype(np.float64))
        return np.hstack(parts)

    def refitted(self, matrix: Matrix) -> "FeatureState":
        """The same encoding, with what is learnt from rows learnt from these: [rows, inputs]."""
        return FeatureState(
            inputs=tuple(
                Input(
                    name=column.name,
                    kind=column.kind,
                    categories=column.categories,
                    fill=_fill(values, column.kind),
                    gaps=bool(np.isnan(values).any()),
                )
                for column, values in zip(self.inputs, matrix.T, strict=True)
            )
        )


def fit_features(columns: Columns, problem: Problem) -> FeatureState:
    """Learn the state from the training rows' typed columns."""
    kinds: dict[str, Any] = {
        name: column.type if column.type in ("boolean", "datetime", "category") else "numeric"
        for name, column in problem.inputs.items()
    }
    encoding = FeatureState(
        inputs=tuple(
            Input(name=name, kind=kinds[name], categories=column.categories)
            for name, column in problem.inputs.items()
        )
    )
    return encoding.refitted(encoding.transform(columns))


def encode_target(values: Any, problem: Problem) -> Matrix:
    """The target as floats: the value itself, or the class' position in `problem.classes`."""
    if problem.target.type == "boolean":
        return encode(values, "boolean")
    return encode(values, "category" if problem.classes else "numeric", problem.classes)


def encode(values: Any, kind: Kind, categories: Sequence[str] = ()) -> Matrix:
    """One typed column as numbers [rows]; NaN where it is missing, or no category of these."""
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


def _fill(values: Matrix, kind: Kind) -> float | None:
    known = values[~np.isnan(values)]
    if kind == "category":
        return None
    if not len(known):
        return 0.0
    return float(np.bincount(known.astype(int)).argmax() if kind == "boolean" else np.median(known))


def _length(columns: Columns, names: Sequence[str]) -> int:
    return len(columns[names[0]])
