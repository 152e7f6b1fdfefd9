"""The base of everything that is read from YAML or JSON."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """Base of every configuration object: immutable, and a wrong key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
