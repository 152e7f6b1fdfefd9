"""Categories by what the target is like in them."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from millrace.transforms.base import Apply, Feature, Kind, Learnt, Matrix, Transform, numeric


class TargetEncoding(Transform):
    """The target's mean in a row's category, drawn to the overall mean as if by `smoothing` rows more.

    Micci-Barreca (2001), doi:10.1145/507533.507538. A missing or unseen category has the overall mean.
    """

    accepts: ClassVar[frozenset[Kind]] = frozenset({"category", "boolean"})

    kind: Literal["target_encoding"]
    of: str
    smoothing: float = Field(10.0, ge=0, allow_inf_nan=False)

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.of,)

    @property
    def out_of_fold(self) -> bool:
        return True

    def learn(self, values: Matrix, targets: Matrix, categories: tuple[str, ...]) -> Learnt:
        known = ~np.isnan(values[:, 0])
        codes = values[known, 0].astype(int)
        # Booleans are the two categories 0 and 1.
        size = len(categories) or 2
        overall = targets.mean(axis=0)
        counts = np.bincount(codes, minlength=size)[:, None]
        sums = np.column_stack([np.bincount(codes, target, minlength=size) for target in targets[known].T])
        rows = counts + self.smoothing
        means = np.where(rows > 0, (sums + self.smoothing * overall) / np.where(rows > 0, rows, 1), overall)
        return {"means": np.vstack([means, overall])}

    def makes(self, learnt: Learnt, targets: tuple[str, ...]) -> tuple[Feature, ...]:  # noqa: ARG002
        return numeric(*(f"mean {target} in {self.of}" for target in targets))

    def applier(self, learnt: Learnt) -> Apply:
        table = learnt["means"]

        def apply(values: Matrix, made: Matrix) -> None:
            codes = np.where(np.isnan(values[:, 0]), len(table) - 1, values[:, 0]).astype(int)
            made[:] = table.take(codes, axis=0)

        return apply
