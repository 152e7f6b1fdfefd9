"""What an inference run may be told: the `parameters` of configs/inference.yaml."""

from typing import Literal

from pydantic import Field, model_validator

from millrace.prediction_log import LogSettings
from millrace.requests import MAX_ROWS
from millrace.strict import Strict


class BatchSettings(Strict):
    """Knobs of an inference run; of none but `columns`, `batch_rows` and `partition_rows` the output depends.

    `columns` are those of the input that the output keeps: the `key`, or `all`; `auto` is the key if the
    contract has one.
    """

    columns: Literal["auto", "key", "all"] = "auto"
    bad_rows_limit: float = Field(0.05, ge=0, le=1, description="share of bad rows that stops the run")
    bad_files: Literal["set_aside", "fail"] = Field(
        "set_aside", description="whether a file that cannot be read ends the run, or is left out and named"
    )
    batch_rows: int = Field(50_000, ge=1, le=1_000_000, description="read and scored at once, by one thread")
    partition_rows: int = Field(500_000, ge=1, description="in a file of the output")
    trees: Literal["auto", "compiled", "lightgbm"] = Field(
        "auto", description="who asks trees: LightGBM, or compiled code, 'auto' for large inputs"
    )
    log: str | None = Field(
        None, description="the prediction log's URI, 'off'; None for that of a service on this machine"
    )
    log_rows: int = Field(1_000, ge=0, le=MAX_ROWS, description="logged of each batch, evenly spread")
    sample_rows: int = Field(100, ge=1, le=10_000, description="shown in the dashboard")

    @model_validator(mode="after")
    def _consistent(self) -> "BatchSettings":
        if self.partition_rows % self.batch_rows:
            raise ValueError("'partition_rows' must be a multiple of 'batch_rows'")
        if self.log not in (None, "off"):
            LogSettings(uri=self.log)
        return self
