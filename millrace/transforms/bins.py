"""A number as one of a few classes."""

from itertools import pairwise
from typing import Literal

import numpy as np
from pydantic import Field, FiniteFloat, model_validator

from millrace.transforms.base import Apply, Feature, Learnt, Matrix, Transform


class Bins(Transform):
    """Which bin a number lies in, as a category: between given `edges`, or `count` equally full ones."""

    kind: Literal["bins"]
    of: str
    edges: tuple[FiniteFloat, ...] = ()
    count: int | None = Field(None, ge=2, le=100)

    @model_validator(mode="after")
    def _one_way(self) -> "Bins":
        if bool(self.edges) == (self.count is not None):
            raise ValueError("bins have either 'edges' or a 'count'")
        if any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError("'edges' must rise")
        return self

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.of,)

    def learn(self, values: Matrix, targets: Matrix, categories: tuple[str, ...]) -> Learnt:  # noqa: ARG002
        if self.count is None:
            return {"edges": np.array(self.edges)}
        known = values[~np.isnan(values)]
        inner = np.linspace(0, 1, self.count + 1)[1:-1]
        return {"edges": np.unique(np.quantile(known, inner)) if len(known) else known}

    def makes(self, learnt: Learnt, targets: tuple[str, ...]) -> tuple[Feature, ...]:  # noqa: ARG002
        edges = [f"{edge:.6g}" for edge in learnt.get("edges", ())]
        between = [f"{low} to {high}" for low, high in pairwise(edges)]
        names = (f"below {edges[0]}", *between, f"from {edges[-1]}") if edges else ("any",)
        return (Feature(name=f"bin of {self.of}", kind="category", categories=names),)

    def applier(self, learnt: Learnt) -> Apply:
        edges = learnt["edges"]

        def apply(values: Matrix, made: Matrix) -> None:
            made[:] = edges.searchsorted(values, side="right")
            np.copyto(made, np.nan, where=np.isnan(values))

        return apply
