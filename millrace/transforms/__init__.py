"""Declared transforms: columns made from columns. One is one file with a class; list it here."""

from functools import cached_property
from typing import Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field, field_serializer, field_validator

from millrace.strict import Strict
from millrace.transforms.arithmetic import Log, Product, Ratio
from millrace.transforms.base import Apply, Feature, Kind, Learnt, Matrix, Transform
from millrace.transforms.bins import Bins
from millrace.transforms.dates import DateParts
from millrace.transforms.encoding import TargetEncoding
from millrace.transforms.geography import Distances, RotatedCoordinates
from millrace.transforms.neighbours import Neighbours

Declared = Annotated[
    Ratio | Product | Log | Bins | DateParts | TargetEncoding | RotatedCoordinates | Distances | Neighbours,
    Field(discriminator="kind"),
]


class FittedTransform(Strict):
    """A transform and what training rows taught it, which JSON holds as lists, null for unknown."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    declared: Declared
    learnt: Learnt
    makes: tuple[Feature, ...]

    @field_validator("learnt", mode="before")
    @classmethod
    def _arrays(cls, learnt: dict[str, Any]) -> Learnt:
        return {name: np.array(values, dtype=np.float64) for name, values in learnt.items()}

    @field_serializer("learnt")
    def _lists(self, learnt: Learnt) -> dict[str, Any]:
        lists = {}
        for name, values in learnt.items():
            cells = values.astype(object)
            cells[np.isnan(values)] = None
            lists[name] = cells.tolist()
        return lists

    @cached_property
    def apply(self) -> Apply:
        """The function from [rows, own] to [rows, made], which it writes into its second argument."""
        return self.declared.applier(self.learnt)


__all__ = ["Apply", "Declared", "Feature", "FittedTransform", "Kind", "Matrix", "Transform"]
