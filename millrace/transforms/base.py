"""What every transform does."""

from collections.abc import Callable
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from millrace.strict import Strict

Matrix = NDArray[np.float64]
Kind = Literal["numeric", "boolean", "datetime", "category"]
Learnt = dict[str, Matrix]
Apply = Callable[[Matrix, Matrix], None]


class Feature(Strict):
    """One column of the matrix; a category's values are positions in `categories`."""

    name: str
    kind: Kind
    categories: tuple[str, ...] = ()


class Transform(Strict):
    """Columns made from columns. A subclass is one entry of a problem's `transforms`.

    `accepts` is what its columns may be.
    """

    accepts: ClassVar[frozenset[Kind]] = frozenset({"numeric"})

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns it is given, in order."""
        raise NotImplementedError

    @property
    def own(self) -> tuple[str, ...]:
        """The first of `reads`: those whose value in the row itself what comes out depends on."""
        return self.reads

    @property
    def out_of_fold(self) -> bool:
        """Whether a training row is given what other rows teach: the target, or neighbours without itself."""
        return False

    def learn(self, values: Matrix, targets: Matrix, categories: tuple[str, ...]) -> Learnt:  # noqa: ARG002
        """What training rows teach, as numbers: from `values` [rows, reads] and `targets` [rows, targets].

        Targets are the value as models learn it, or 0/1 for each class (of two, the second alone).
        `categories` are those of the first column read.
        """
        return {}

    def makes(self, learnt: Learnt, targets: tuple[str, ...]) -> tuple[Feature, ...]:
        """The columns that come out; `targets` are the target columns' names."""
        raise NotImplementedError

    def applier(self, learnt: Learnt) -> Apply:
        """The function that writes what comes out of rows [rows, own] into its second argument [rows, made].

        Each row by itself, to the bit; what is unknown as anything that is not finite. All that is the same
        for every row is done here, once. NumPy's warnings are the caller's to silence.
        """
        raise NotImplementedError


def numeric(*names: str) -> tuple[Feature, ...]:
    """Columns of plain numbers."""
    return tuple(Feature(name=name, kind="numeric") for name in names)
