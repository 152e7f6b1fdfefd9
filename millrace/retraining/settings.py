"""What a retraining may be told: the `parameters` of configs/retraining.yaml."""

from datetime import timedelta
from typing import Literal

from pydantic import Field, field_validator

from millrace.moments import Period, period
from millrace.prediction_log import LogSettings
from millrace.strict import Strict

# What a model is made of: the source, what is recent, or the source and what is recent.
Rows = Literal["all", "window", "labelled"]


class Budget(Strict):
    """How many retrainings there may be within a time."""

    runs: int = Field(4, ge=1, le=1000)
    within: Period = "7d"

    @property
    def time(self) -> timedelta:
        """`within`, as a length of time."""
        return period(self.within)


class RetrainingSettings(Strict):
    """Knobs of a retraining; how a model is trained is in the training's own file, named by `training`."""

    training: str = Field("training.yaml", description="the training's configuration, in the same folder")
    rows: Rows = "labelled"
    window: Period = Field("90d", description="how far back rows of the log, or of the source, are recent")
    log: str | None = Field(None, description="the prediction log's URI; None for that of a service here")
    min_rows: int = Field(500, ge=50, description="recent rows with an outcome without which none are used")
    min_share: float = Field(0.9, gt=0, le=1, description="of the rows that the champion's source had")
    cool_down: Period = Field("6h", description="after one retraining, until the next by itself")
    budget: Budget = Budget()

    @field_validator("log")
    @classmethod
    def _uri(cls, value: str | None) -> str | None:
        if value is not None:
            LogSettings(uri=value)
        return value
