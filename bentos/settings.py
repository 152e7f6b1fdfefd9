"""What a service may be told, by environment variables that begin with MILLRACE_SERVE_."""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, ValidationError

from millrace.errors import UserError, nearest
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
    log: str | None = Field(None, description="where requests and answers are kept; unset, beside the Bentos")
    api_keys: Path | None = Field(
        None, description="a YAML file of hashed keys; unset, nobody is asked for one"
    )
    cors_origins: str = Field("", description="origins whose pages may call, separated by commas")

    @property
    def origins(self) -> list[str]:
        """The origins, one by one."""
        return [origin.strip() for origin in self.cors_origins.split(",") if origin.strip()]


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
