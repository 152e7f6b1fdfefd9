"""Numbers that a calendar gives to a moment."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from millrace.transforms.base import Apply, Feature, Kind, Learnt, Matrix, Transform, numeric

Part = Literal["year", "month", "day", "day_of_week", "day_of_year", "hour"]
Moments = NDArray[Any]


def _since(moments: Moments, start: str, unit: str) -> Moments:
    begun = moments.astype(f"M8[{start}]").astype(f"M8[{unit}]")
    passed: Moments = moments.astype(f"M8[{unit}]") - begun
    return passed.astype(np.int64)


PARTS: dict[Part, Callable[[Moments], Moments]] = {
    "year": lambda moments: moments.astype("M8[Y]").astype(int) + 1970,
    "month": lambda moments: _since(moments, "Y", "M") + 1,
    "day": lambda moments: _since(moments, "M", "D") + 1,
    # The first of January 1970 was a Thursday, and Monday is 0.
    "day_of_week": lambda moments: (moments.astype("M8[D]").astype(int) + 3) % 7,
    "day_of_year": lambda moments: _since(moments, "Y", "D") + 1,
    "hour": lambda moments: _since(moments, "D", "h"),
}


class DateParts(Transform):
    """Year, month, day, day of the week (Monday is 0), day of the year, hour of a datetime."""

    accepts: ClassVar[frozenset[Kind]] = frozenset({"datetime"})

    kind: Literal["date_parts"]
    of: str
    parts: tuple[Part, ...] = Field(("year", "month", "day_of_week"), min_length=1)

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.of,)

    def makes(self, learnt: Learnt, targets: tuple[str, ...]) -> tuple[Feature, ...]:  # noqa: ARG002
        return numeric(*(f"{part.replace('_', ' ')} of {self.of}" for part in self.parts))

    def applier(self, learnt: Learnt) -> Apply:  # noqa: ARG002
        parts = [PARTS[part] for part in self.parts]

        def apply(values: Matrix, made: Matrix) -> None:
            missing = np.isnan(values[:, 0])
            moments = np.where(missing, 0, values[:, 0]).astype("M8[s]")
            for column, part in enumerate(parts):
                made[:, column] = part(moments)
            made[missing] = np.nan

        return apply
