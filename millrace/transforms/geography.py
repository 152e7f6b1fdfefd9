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

        def apply(values: Matrix) -> Matrix:
            north, east = values[:, :1], values[:, 1:]
            turned = np.empty((len(values), 2 * len(angles)))
            turned[:, ::2] = cosines * north + sines * east
            turned[:, 1::2] = cosines * east - sines * north
            return turned

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
        north, east = np.radians(np.array(list(self.places.values()))).T

        def apply(values: Matrix) -> Matrix:
            here_north, here_east = np.radians(values[:, :1]), np.radians(values[:, 1:])
            chord = np.sin((here_north - north) / 2) ** 2
            chord = chord + np.cos(here_north) * np.cos(north) * np.sin((here_east - east) / 2) ** 2
            distances: Matrix = 2 * EARTH_RADIUS * np.arcsin(np.sqrt(np.clip(chord, 0, 1)))
            return distances

        return apply
