"""What the nearest training rows are like."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from millrace.errors import UserError
from millrace.threads import in_threads
from millrace.transforms.base import Apply, Feature, Learnt, Matrix, Transform, numeric

# How many rows are looked up at once: what they need fits a processor's cache.
BLOCK = 512
STRIPS = 64
# Points in a leaf of the tree: more than SciPy's ten, as dozens of neighbours are asked for.
LEAF = 32
SAMPLE_SEED = 0
# A median is known well enough from so many.
SOFTENING_ROWS = 1000


class Neighbours(Transform):
    """Means over the nearest training rows, of columns and of the target, and how far these rows are.

    Rows are near by the Euclidean distance of the columns in `by`, each times its weight; a degree of
    longitude, for example, weighs the cosine of the latitude. A nearer row's target counts more: as
    1 / (distance + s), s being the median distance of a training row to its nearest. Of very long
    tables a sample is kept.
    """

    kind: Literal["neighbours"]
    name: str = "nearest"
    by: dict[str, float] = Field(min_length=1)
    counts: tuple[int, ...] = Field((5, 15, 50), min_length=1)
    means: tuple[str, ...] = ()
    target: bool = False
    distance: bool = True
    max_points: int = Field(100_000, ge=100)

    @model_validator(mode="after")
    def _sound(self) -> "Neighbours":
        if any(not 0 < weight < 1e9 for weight in self.by.values()):
            raise ValueError("the weights in 'by' are above 0")
        if not (self.means or self.target or self.distance):
            raise ValueError("neighbours need 'means', 'target: true' or 'distance: true'")
        if (
            list(self.counts) != sorted(set(self.counts))
            or not 1 <= self.counts[0] <= self.counts[-1] <= 1000
        ):
            raise ValueError("'counts' rise, from 1 to at most 1000")
        return self

    @property
    def reads(self) -> tuple[str, ...]:
        return (*self.by, *self.means)

    @property
    def own(self) -> tuple[str, ...]:
        return tuple(self.by)

    @property
    def out_of_fold(self) -> bool:
        return True

    def learn(self, values: Matrix, targets: Matrix, categories: tuple[str, ...]) -> Learnt:  # noqa: ARG002
        known = np.flatnonzero(~np.isnan(values[:, : len(self.by)]).any(axis=1))
        if not len(known):
            listed = " and ".join(f"'{name}'" for name in self.by)
            raise UserError(f"No training row has a value of {listed}, so none has neighbours by them.")
        if len(known) > self.max_points:
            rng = np.random.default_rng(SAMPLE_SEED)
            known = np.sort(rng.permutation(known)[: self.max_points])
        about = np.hstack([values[:, len(self.by) :], targets if self.target else targets[:, :0]])[known]
        points = values[known, : len(self.by)]
        return {
            "points": points,
            "about": about,
            "softening": np.array([self._softening(points)]),
        }

    def makes(self, learnt: Learnt, targets: tuple[str, ...]) -> tuple[Feature, ...]:  # noqa: ARG002
        about = (*self.means, *(targets if self.target else ()))
        columns = []
        for count in self.counts:
            columns += [f"{name} of {count} {self.name}" for name in about]
            columns += [f"distance to {count} {self.name}"] if self.distance else []
        return numeric(*columns)

    def applier(self, learnt: Learnt) -> Apply:
        from scipy.spatial import cKDTree

        weights = np.array(list(self.by.values()))
        points, about, soft = learnt["points"], learnt["about"], learnt["softening"]
        tree = cKDTree(points * weights, leafsize=LEAF)
        nearest = np.arange(1, min(self.counts[-1], len(points)) + 1)
        last = np.minimum(self.counts, len(nearest)) - 1
        # Row i of it picks the neighbours that the i-th count asks for.
        within = (np.arange(len(nearest)) <= last[:, None]).astype(np.float64)
        plain, columns = len(self.means), about.shape[1]
        known_about = ~np.isnan(about[:, :plain])
        gaps = not known_about.all()
        # The last column, of ones, sums the targets' weights.
        filled = np.column_stack([np.nan_to_num(about), np.ones(len(about))])
        counts = within.sum(axis=1)[:, None]

        def found(at: Matrix, made: Matrix) -> None:
            """For points [rows, by], all known, what is near: [rows, counts, columns and distance]."""
            apart, rows = tree.query(at, k=nearest)
            near = filled.take(rows, axis=0)
            near[:, :, plain:] *= (1 / (apart + soft))[:, :, None]
            sums = within @ near
            counted = within @ known_about.take(rows, axis=0) if gaps else counts
            np.divide(sums[:, :, :plain], counted, out=made[:, :, :plain])
            np.divide(sums[:, :, plain:-1], sums[:, :, -1:], out=made[:, :, plain:columns])
            if self.distance:
                made[:, :, columns] = apart.take(last, axis=1)

        def block(values: Matrix, made: Matrix) -> None:
            at, made = values * weights, made.reshape(len(values), len(last), columns + self.distance)
            known = np.isfinite(at)
            if np.count_nonzero(known) == known.size:
                return found(at, made)
            rows = known.all(axis=1)
            some = np.empty((np.count_nonzero(rows), *made.shape[1:]))
            found(at[rows], some)
            made[:] = np.nan
            made[rows] = some
            return None

        def apply(values: Matrix, made: Matrix) -> None:
            if len(values) <= BLOCK:
                block(values, made)
                return

            def some(rows: NDArray[np.int64]) -> None:
                own = np.empty((len(rows), made.shape[1]))
                # What NumPy is told to ignore, it is told for one thread.
                with np.errstate(invalid="ignore"):
                    block(values[rows], own)
                made[rows] = own

            in_threads(some, np.array_split(_in_strips(values * weights), -(-len(values) // BLOCK)))

        return apply

    def _softening(self, points: Matrix) -> float:
        from scipy.spatial import cKDTree

        if len(points) < 2:
            return 1.0
        weighted = points * np.array(list(self.by.values()))
        apart = cKDTree(weighted).query(weighted[:: 1 + len(points) // SOFTENING_ROWS], k=[2])[0]
        return float(np.median(apart)) or float(np.mean(apart)) or 1.0


def _in_strips(at: Matrix) -> NDArray[np.int64]:
    """An order in which near rows follow each other: what one looks up, the next finds in the cache."""
    known = at[:, 0][np.isfinite(at[:, 0])]
    width = (np.ptp(known) if len(known) else 0.0) / STRIPS or 1.0
    return np.lexsort((at[:, -1], np.floor(at[:, 0] / width)))
