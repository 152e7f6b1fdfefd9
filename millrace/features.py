"""From typed columns to the matrix a model learns from, the same way in training and serving.

The fitted state is JSON in the bundle. Numbers stay as they are, booleans become 0 and 1,
datetimes seconds since 1970, categories their position in the contract's list; then come the columns
that the contract's transforms make. What is missing or unseen becomes NaN. Trees that know NaN take
this matrix; other models take the dense one made from it.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from millrace.contract import KINDS, Problem
from millrace.scales import to_model
from millrace.strict import Strict
from millrace.transforms import Apply, Feature, FittedTransform, Kind, Matrix

Positions = NDArray[np.int64]


class Columns(Protocol):
    """Equally long columns by name: a dict of sequences, or a DataFrame."""

    def __getitem__(self, name: str, /) -> Any:
        """One column's values."""


class Step(NamedTuple):
    """A transform in the matrix: columns that it reads and makes, and whether some it reads are made, too."""

    apply: Apply
    reads: slice | Positions
    makes: slice
    chained: bool


class Input(Feature):
    """One column of the matrix, and what its training rows are like."""

    fill: float | None = None
    """What stands for a missing value in the dense matrix: the median, or the commoner of 0 and 1.
    None for categories, of which a missing one is no category: zero in all their columns."""
    gaps: bool = False
    """Whether a training row lacks the value; the dense matrix then says which do, in a column more."""


class FeatureState(Strict):
    """How the matrix is made, fitted on training rows only."""

    inputs: tuple[Input, ...]
    """The contract's columns, encoded."""
    transforms: tuple[FittedTransform, ...] = ()
    made: tuple[Input, ...] = ()
    """The transforms' columns."""

    @cached_property
    def columns(self) -> tuple[Input, ...]:
        """The matrix' columns, in order."""
        return self.inputs + self.made

    @cached_property
    def _steps(self) -> list[Step]:
        steps, count = [], len(self.inputs)
        start = count
        for fitted in self.transforms:
            positions = _positions(fitted.declared.own, self.names)
            end = start + len(fitted.makes)
            steps.append(
                Step(fitted.apply, _selection(positions), slice(start, end), max(positions) >= count)
            )
            start = end
        return steps

    @property
    def names(self) -> list[str]:
        """The names of the matrix' columns."""
        return [column.name for column in self.columns]

    @property
    def categorical(self) -> list[int]:
        """Positions of the columns that hold category codes."""
        return [i for i, column in enumerate(self.columns) if column.kind == "category"]

    @property
    def filled(self) -> list[int]:
        """Positions of the columns whose missing values are filled: all but the categories."""
        return [i for i, column in enumerate(self.columns) if column.fill is not None]

    @property
    def dense_sources(self) -> list[int]:
        """For each column of the dense matrix, the position of the column that it was made from."""
        sources = self.filled
        for position, column in enumerate(self.columns):
            sources += [position] * (len(column.categories) + column.gaps)
        return sources

    @property
    def made_from(self) -> dict[str, tuple[str, ...]]:
        """For each column that transforms made, those of the contract whose values it depends on."""
        found: dict[str, tuple[str, ...]] = {}
        for fitted in self.transforms:
            read = [source for name in fitted.declared.own for source in found.get(name, (name,))]
            found |= {made.name: tuple(dict.fromkeys(read)) for made in fitted.makes}
        return found

    def transform(self, columns: Columns) -> Matrix:
        """Typed columns (a mapping of names to equally long sequences) as the matrix [rows, columns]."""
        return self.expand(encode_inputs(columns, self.inputs))

    def expand(self, inputs: Matrix) -> Matrix:
        """The matrix [rows, columns] of rows that are encoded already [rows, inputs]."""
        if not self.transforms:
            return np.asarray(inputs, dtype=np.float64)
        matrix = np.empty((len(inputs), len(self.columns)))
        count = len(self.inputs)
        matrix[:, :count] = inputs
        with np.errstate(all="ignore"):
            for step in self._steps:
                if step.chained:
                    _keep_finite(matrix[:, count : step.makes.start])
                step.apply(matrix[:, step.reads], matrix[:, step.makes])
        _keep_finite(matrix[:, count:])
        return matrix

    @cached_property
    def _flags(self) -> tuple[Positions, Matrix]:
        """For each 0/1 column of the dense matrix: the position it is of, and the code; NaN for "missing"."""
        positions: list[int] = []
        codes: list[float] = []
        for position, column in enumerate(self.columns):
            own = [float(code) for code in range(len(column.categories))] + [np.nan] * column.gaps
            positions += [position] * len(own)
            codes += own
        return np.array(positions, dtype=np.int64), np.array(codes)

    @cached_property
    def _fills(self) -> tuple[Positions, Matrix]:
        """The positions of the filled columns, and what fills them."""
        fills = [column.fill for column in self.columns if column.fill is not None]
        return np.array(self.filled, dtype=np.int64), np.array(fills)

    def dense(self, matrix: Matrix) -> Matrix:
        """The matrix without NaN, for models that need numbers: [rows, dense_sources].

        First the filled columns in order; then, column by column, a 0/1 column for each category and
        one for "missing".
        """
        (filled, fills), (flagged, codes) = self._fills, self._flags
        numbers = matrix.take(filled, axis=1)
        np.copyto(numbers, fills, where=np.isnan(numbers))
        if not len(flagged):
            return numbers
        values = matrix.take(flagged, axis=1)
        return np.hstack([numbers, np.where(np.isnan(codes), np.isnan(values), values == codes)])


def fit_features(
    inputs: Matrix, target: Matrix, parts: NDArray[np.int64], problem: Problem
) -> tuple[FeatureState, Matrix]:
    """Learn the state from training rows, encoded: [rows, inputs], [rows].

    Where a transform learns from rows what would give a row's own target away, a training row is given
    what the rows of the other `parts` [rows] teach; in a split by time, those of the earlier parts.

    Returns:
        The state, and the training rows' matrix [rows, columns].
    """
    targets, target_names = _targets(target, problem)
    columns = list(encoded(problem))
    transforms, matrix = [], inputs
    for declared in problem.transforms:
        names = [column.name for column in columns]
        positions, own = (_positions(read, names) for read in (declared.reads, declared.own))
        values, categories = matrix[:, positions], columns[positions[0]].categories
        learnt = declared.learn(values, targets, categories)
        makes = declared.makes(learnt, target_names)
        fitted = FittedTransform(declared=declared, learnt=learnt, makes=makes)
        if declared.out_of_fold:
            made = np.full((len(values), len(makes)), np.nan)
            for part in np.unique(parts):
                others = parts < part if problem.split.by == "time" else parts != part
                if others.any():
                    apply = declared.applier(declared.learn(values[others], targets[others], categories))
                    made[parts == part] = _made(apply, matrix[parts == part][:, own], len(makes))
        else:
            made = _made(fitted.apply, matrix[:, own], len(makes))
        matrix = np.hstack([matrix, made])
        transforms.append(fitted)
        columns += makes
    known = [_with_fill(column, values) for column, values in zip(columns, matrix.T, strict=True)]
    count = inputs.shape[1]
    state = FeatureState(inputs=tuple(known[:count]), transforms=tuple(transforms), made=tuple(known[count:]))
    return state, matrix


def encoded(problem: Problem) -> tuple[Feature, ...]:
    """The contract's inputs as columns of numbers."""
    return tuple(
        Feature(name=name, kind=KINDS.get(column.type, "numeric"), categories=column.categories)
        for name, column in problem.inputs.items()
    )


def encode_inputs(columns: Columns, features: Sequence[Feature]) -> Matrix:
    """Typed columns as numbers: [rows, features]."""
    matrix = np.empty((len(columns[features[0].name]), len(features)), dtype=np.float64)
    for position, feature in enumerate(features):
        matrix[:, position] = encode(columns[feature.name], feature.kind, feature.categories)
    return matrix


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


def _targets(target: Matrix, problem: Problem) -> tuple[Matrix, tuple[str, ...]]:
    """The encoded target [rows] as what transforms average, [rows, targets], and its columns' names."""
    if not problem.classes:
        return to_model(target, problem.target)[:, None], (problem.target.name,)
    first = 1 if problem.task == "binary" else 0
    return np.eye(len(problem.classes))[target.astype(int)][:, first:], problem.classes[first:]


def _positions(read: Sequence[str], names: list[str]) -> list[int]:
    return [names.index(name) for name in read]


def _selection(positions: list[int]) -> slice | Positions:
    """The same columns as a slice where they are equally far apart, as that takes no copy."""
    first, last = positions[0], positions[-1]
    step = positions[1] - first if len(positions) > 1 else 1
    if step and positions == list(range(first, last + step, step)):
        end = last + step
        return slice(first, None if end < 0 else end, step)
    return np.array(positions)


def _made(apply: Apply, values: Matrix, count: int) -> Matrix:
    made = np.empty((len(values), count))
    with np.errstate(all="ignore"):
        apply(values, made)
    _keep_finite(made)
    return made


def _keep_finite(made: Matrix) -> None:
    """Make NaN of what is not finite, and one NaN of all."""
    np.copyto(made, np.nan, where=~np.isfinite(made))


def _with_fill(column: Feature, values: Matrix) -> Input:
    known = values[~np.isnan(values)]
    fill = None
    if column.kind == "boolean":
        fill = float(np.bincount(known.astype(int)).argmax()) if len(known) else 0.0
    elif column.kind != "category":
        fill = float(np.median(known)) if len(known) else 0.0
    return Input(**column.model_dump(), fill=fill, gaps=len(known) < len(values))
