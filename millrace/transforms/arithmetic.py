"""One number from one or two."""

from typing import Literal

import numpy as np

from millrace.transforms.base import Apply, Feature, Learnt, Matrix, Transform, numeric


class Ratio(Transform):
    """One column divided by another; unknown where that is zero."""

    kind: Literal["ratio"]
    name: str
    of: str
    to: str

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.of, self.to)

    def makes(self, learnt: Learnt, targets: tuple[str, ...]) -> tuple[Feature, ...]:  # noqa: ARG002
        return numeric(self.name)

    def applier(self, learnt: Learnt) -> Apply:  # noqa: ARG002
        return _ratio


class Product(Transform):
    """One column multiplied by another."""

    kind: Literal["product"]
    name: str
    of: str
    by: str

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.of, self.by)

    def makes(self, learnt: Learnt, targets: tuple[str, ...]) -> tuple[Feature, ...]:  # noqa: ARG002
        return numeric(self.name)

    def applier(self, learnt: Learnt) -> Apply:  # noqa: ARG002
        return _product


class Log(Transform):
    """log(1 + value); unknown at and below -1."""

    kind: Literal["log"]
    of: str

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.of,)

    def makes(self, learnt: Learnt, targets: tuple[str, ...]) -> tuple[Feature, ...]:  # noqa: ARG002
        return numeric(f"log of {self.of}")

    def applier(self, learnt: Learnt) -> Apply:  # noqa: ARG002
        return _log


def _ratio(values: Matrix, made: Matrix) -> None:
    np.divide(values[:, :1], values[:, 1:], out=made)


def _product(values: Matrix, made: Matrix) -> None:
    np.multiply(values[:, :1], values[:, 1:], out=made)


def _log(values: Matrix, made: Matrix) -> None:
    made[:] = np.log1p(np.ascontiguousarray(values))
