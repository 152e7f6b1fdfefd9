"""What a profiling run may be told: the `parameters` of configs/profiling.yaml."""

from pydantic import Field

from millrace.strict import Strict


class ProfilingSettings(Strict):
    """Knobs of the draft and of the page."""

    seed: int = Field(0, ge=0, lt=2**31, description="seed of the sample that plots are drawn from")
    bad_rows_limit: float = Field(0.05, ge=0, lt=1, description="as in training: share of bad rows")
    min_rows: int = Field(10, ge=10, description="usable rows that training needs, in all and of a class")
    max_categories: int = Field(50, ge=2, le=10_000, description="more different texts than this are ids")
    range_margin: float = Field(0.1, ge=0, le=10, description="share of the span added to both ends")
    plotted_rows: int = Field(20_000, ge=100, le=1_000_000)
