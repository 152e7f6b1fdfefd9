"""What an experiment may be told when it is planned: the `parameters` of configs/experiment.yaml."""

from pydantic import Field, model_validator

from millrace.moments import Period
from millrace.prediction_log import LogSettings
from millrace.strict import Strict


class ExperimentSettings(Strict):
    """Fixed by the plan: what is changed on the way would make the rates untrue.

    `alpha` is the chance that the interval of the difference is ever wrong, however often one looks, and so
    more than that of promoting a challenger that is no better. `effect` is by how much of the champion's
    primary metric the challenger's must be lower to be worth finding, and `power` the chance to find it.
    """

    share: float = Field(0.5, ge=0.01, le=0.99, description="of the keys that the challenger answers for")
    effect: float = Field(0.05, gt=0, le=0.9, description="a primary metric lower by so much of it")
    alpha: float = Field(0.05, ge=0.001, le=0.2, description="how often an interval may be wrong, ever")
    power: float = Field(0.95, ge=0.5, le=0.999, description="of finding the effect, if it is there")
    min_rows: int = Field(
        100, ge=20, description="keys with outcomes of either; with fewer there is no verdict"
    )
    slower: float = Field(
        1.5, ge=1, le=100, description="how many times the champion's latency is still allowed"
    )
    unanswered: float = Field(
        0.01, ge=0, lt=1, description="by how much more rows may be without an answer, as a share"
    )
    traffic: Period = Field("7d", description="of late, to tell the days by")
    log: str | None = Field(None, description="the prediction log's URI; None for that of a service here")

    @model_validator(mode="after")
    def _consistent(self) -> "ExperimentSettings":
        if self.log is not None:
            LogSettings(uri=self.log)
        return self
