"""What a service may be told, by environment variables that begin with MILLRACE_SERVE_."""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, ValidationError

from bentos.bodies import BODY_SECONDS
from millrace.errors import UserError, nearest
from millrace.prediction_log import LogSettings
from millrace.prediction_log.settings import SQLITE, WhenFull
from millrace.strict import Strict

PREFIX = "MILLRACE_SERVE_"


class ServiceSettings(Strict):
    """`MILLRACE_SERVE_CHALLENGER=houses:1f2e3d4c5b6a` sets `challenger`, and so on."""

    workers: int = Field(2, ge=1, le=64, description="processes that answer")
    challenger: str | None = Field(
        None, description="tag of a BentoML model that answers for a share of keys"
    )
    challenger_share: float = Field(0.1, ge=0, le=1, description="share of the keys it answers for")
    shadow: str | None = Field(None, description="tag of a BentoML model that is scored and never answers")
    watch_seconds: float = Field(
        0, ge=0, le=3600, description="how often to look for another latest Bento, whose model then serves"
    )
    log: str = Field("", description="where answered rows are kept, or 'off'; unset, beside the Bentos")
    log_keep_days: float | None = Field(None, gt=0, description="older rows are deleted; unset, none are")
    log_flush_seconds: float = Field(0.5, gt=0, le=60, description="how often rows are written")
    log_queue_rows: int = Field(50_000, ge=10_000, description="rows that may wait in a worker's memory")
    log_when_full: WhenFull = Field("drop_newest", description="which rows are lost when more would wait")
    verdict: Path | None = Field(
        None, description="the monitoring pipeline's gauges, shown by /metrics, too; unset, beside the Bentos"
    )
    body_seconds: float = Field(BODY_SECONDS, gt=0, le=3600, description="within which a body has to come")
    api_keys: Path | None = Field(
        None, description="a YAML file of hashed keys; unset, nobody is asked for one"
    )
    cors_origins: str = Field("", description="origins whose pages may call, separated by commas")

    @property
    def origins(self) -> list[str]:
        """The origins, one by one."""
        return [origin.strip() for origin in self.cors_origins.split(",") if origin.strip()]

    def verdict_file(self, name: str, home: Path) -> Path:
        """Where the monitoring pipeline leaves the gauges of a service called `name`."""
        return self.verdict or home / "monitoring" / f"{name}.prom"

    def log_settings(self, name: str, home: Path) -> LogSettings | None:
        """Those of the prediction log of a service called `name`; None where it is off.

        Raises:
            UserError: the URI is none that a log can have.
        """
        if self.log == "off":
            return None
        own = f"{SQLITE}{home / 'prediction_log' / name}.db"
        try:
            return LogSettings(
                uri=self.log or own,
                keep_days=self.log_keep_days,
                flush_seconds=self.log_flush_seconds,
                queue_rows=self.log_queue_rows,
                when_full=self.log_when_full,
            )
        except ValidationError as error:
            raise UserError(f"{PREFIX}LOG={self.log}: {error.errors()[0]['msg']}.") from None


def from_environment(environment: Mapping[str, str] = os.environ) -> ServiceSettings:
    """The settings that an environment gives.

    Raises:
        UserError: names the variable that is unknown or wrong.
    """
    known = {f"{PREFIX}{name.upper()}": name for name in ServiceSettings.model_fields}
    given = {}
    for variable, value in environment.items():
        if variable.startswith(PREFIX):
            if variable not in known:
                raise UserError(f"{variable}: there is no such setting.{nearest(variable, known)}")
            given[known[variable]] = value
    try:
        return ServiceSettings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = f"{PREFIX}{str(first['loc'][0]).upper()}"
        raise UserError(f"{name}={first['input']}: {first['msg']}.") from None
