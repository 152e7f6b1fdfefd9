"""What a monitoring run may be told: the `parameters` of configs/monitoring.yaml."""

from math import log1p

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from millrace.moments import Period
from millrace.prediction_log import LogSettings
from millrace.strict import Strict


class MonitoringSettings(Strict):
    """Knobs of a monitoring run.

    `false_alarms` is the share of windows without drift that may be called drifted, and the same again of
    those without decay that may be called decayed.
    """

    seed: int = Field(0, ge=0, lt=2**31, description="seed of bootstraps and samples")
    window: Period = Field("7d", description="what is judged, unless --since is given")
    log: str | None = Field(None, description="the prediction log's URI; None for that of a service here")
    false_alarms: float = Field(0.01, gt=0, lt=0.5)
    bootstrap: int = Field(2000, ge=200, le=100_000, description="pairs of samples behind each threshold")
    min_rows: int = Field(100, ge=10, description="of window and reference; with fewer there is no verdict")
    label_days: float = Field(30, ge=0, description="by how much outcomes may be later than predictions")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of the intervals of metrics")
    resamples: int = Field(1000, ge=100, le=100_000, description="behind each interval of a metric")
    report_rows: int = Field(
        5000, ge=0, le=100_000, description="of the window in Evidently's reports; 0 makes none"
    )

    @model_validator(mode="after")
    def _consistent(self) -> "MonitoringSettings":
        # With fewer draws even the largest of them is no safe threshold.
        fewest = 3 / -log1p(-self.false_alarms)
        if self.bootstrap < fewest:
            raise PydanticCustomError(
                "bootstrap",
                "'bootstrap' must be at least {fewest} for this rate of 'false_alarms'",
                {"fewest": int(fewest) + 1},
            )
        if self.log is not None:
            LogSettings(uri=self.log)
        return self
