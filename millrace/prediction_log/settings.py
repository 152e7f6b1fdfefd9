"""What a prediction log may be told."""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from millrace.requests import MAX_ROWS
from millrace.strict import Strict

SQLITE = "sqlite:///"
WhenFull = Literal["drop_newest", "drop_oldest"]


class LogSettings(Strict):
    """Where a service logs, how much of it may wait in memory, and how long it is kept."""

    uri: str = Field(
        description="sqlite:///PATH (sqlite:////PATH if absolute), or a folder for Parquet files"
    )
    flush_seconds: float = Field(0.5, gt=0, le=60, description="within which a row is written")
    flush_rows: int = Field(10_000, ge=1, le=1_000_000, description="so many rows are written without delay")
    queue_rows: int = Field(50_000, ge=MAX_ROWS, le=10_000_000, description="may wait in a process' memory")
    when_full: WhenFull = Field("drop_newest", description="which rows are lost when no more may wait")
    keep_days: float | None = Field(None, gt=0, description="older rows are deleted; None keeps them")
    rotate_rows: int = Field(1_000_000, ge=1, description="in a Parquet file, more or less")
    rotate_seconds: float = Field(300, gt=0, description="after which a Parquet file is begun anew")
    spool: Path | None = Field(
        None, description="local folder of rows that are not in a Parquet file yet; None finds one"
    )

    @field_validator("uri")
    @classmethod
    def _known(cls, uri: str) -> str:
        if uri.startswith("sqlite:") and not re.fullmatch(r"sqlite:///.*[^/]", uri):
            raise ValueError("a SQLite log is named by sqlite:///PATH, or sqlite:////PATH if it is absolute")
        return uri
