"""What a simulation may be told."""

from pydantic import Field, field_validator, model_validator

from millrace.errors import unknown
from millrace.simulation.scenarios import SCENARIOS
from millrace.strict import Strict


class Plan(Strict):
    """How much traffic of which kind, and how fast; times are simulated but for `speed`."""

    scenario: str
    speed: float = Field(3600, gt=0, le=10_000_000, description="simulated seconds in a second")
    weeks: float = Field(4, gt=0, le=520)
    rows: int = Field(2000, ge=1, le=1_000_000_000, description="a day, on average over a week")
    drift_after: float | None = Field(None, ge=0, description="days; None for a third of the time")
    label_delay: float = Field(2, ge=0, le=3650, description="days until an outcome is known, on average")
    seed: int = Field(0, ge=0, lt=2**31)

    @field_validator("scenario")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in SCENARIOS:
            raise ValueError(str(unknown("scenario", name, SCENARIOS)))
        return name

    @model_validator(mode="after")
    def _in_time(self) -> "Plan":
        if self.drift_after is not None and self.drift_after >= self.days:
            raise ValueError(f"'drift_after' must be before the end, which is after {self.days:g} days")
        return self

    @property
    def days(self) -> float:
        """How long it takes."""
        return 7 * self.weeks

    @property
    def begins(self) -> float:
        """The day at which what the scenario tells of begins, counted from 0."""
        return self.days / 3 if self.drift_after is None else self.drift_after
