"""What a place on a map gives away: directions and distances."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, FiniteFloat

from millrace.transforms.base import Apply, Feature, Learnt, Matrix, Transform, numeric

EARTH_RADIUS = 6371.0088
Latitude = Annotated[float, Field(ge=-90, le=90)]
Longitude = Annotated[float, Field(ge=-180, le=180)]


class RotatedCoordinates(Transform):
    """Both coordinates turned by each of `degrees`: trees cut along axes, and coasts run aslant."""

    kind: Literal["rotated_coordinates"]
    latitude: str
    longitude: str
    degrees: tuple[FiniteFloat, ...] = Field((15, 30, 45, 60, 75), min_length=1)

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.latitude, self.longitude)

    def makes(self, learnt: Learnt, targets: tuple[str, ...]) -> tuple[Feature, ...]:  # noqa: ARG002
        return numeric(
            *(
                f"{name} turned by {angle:g}"
                for angle in self.degrees
                for name in (self.latitude, self.longitude)
            )
        )

    def applier(self, learnt: Learnt) -> Apply:  # noqa: ARG002
        angles = np.radians(self.degrees)
        cosines, sines = np.cos(angles), np.sin(angles)
        # Turned north is cos * north + sin * east, turned east cos * east - sin * north.
        of_north, of_east = np.stack([[cosines, -sines], [sines, cosines]]).transpose(0, 2, 1).reshape(2, -1)

        def apply(values: Matrix, made: Matrix) -> None:
            np.multiply(of_north, values[:, :1], out=made)
            made += of_east * values[:, 1:]

        return apply


class Distances(Transform):
    """Great-circle distance in kilometres to each of `places`.

    A place is [latitude, longitude] in degrees; distances by the haversine formula (Sinnott, 1984).
    """

    kind: Literal["distances"]
    latitude: str
    longitude: str
    places: dict[str, tuple[Latitude, Longitude]] = Field(min_length=1)

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.latitude, self.longitude)

    def makes(self, learnt: Learnt, targets: tuple[str, ...]) -> tuple[Feature, ...]:  # noqa: ARG002
        return numeric(*(f"distance to {place}" for place in self.places))

    def applier(self, learnt: Learnt) -> Apply:  # noqa: ARG002
        places = np.radians(np.array(list(self.places.values()))).T
        shrinks = np.cos(places[0])

        def apply(values: Matrix, made: Matrix) -> None:
            here = np.radians(values)
            halves = np.sin((here[:, :, None] - places) / 2)
            halves *= halves
            chord = halves[:, 1]
            chord *= np.cos(here)[:, :1] * shrinks
            chord += halves[:, 0]
            # Rounding leaves antipodes a little more than the half circle apart.
            np.multiply(2 * EARTH_RADIUS, np.arcsin(np.sqrt(np.minimum(chord, 1))), out=made)

        return apply
