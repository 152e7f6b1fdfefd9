"""What a training run may be told: the `parameters` of configs/training.yaml."""

from typing import Annotated

from pydantic import Field, field_validator

from millrace.contract import Strict
from millrace.models import CandidateSettings


class TrainingSettings(Strict):
    """Knobs of the training pipeline; the problem itself is in the contract."""

    seed: int = Field(0, ge=0, lt=2**31, description="seed of folds, models, samples and bootstraps")
    folds: int = Field(5, ge=2, le=20)
    candidates: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], CandidateSettings]
    bad_rows_limit: float = Field(0.05, ge=0, lt=1, description="share of bad rows that stops the run")
    bootstrap: int = Field(1000, ge=100, le=100_000, description="resamples behind each interval")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of intervals, and needed to promote")
    explained_rows: int = Field(1000, ge=10, le=100_000)
    reference_rows: int = Field(2000, ge=10, le=1_000_000, description="kept in the bundle for drift")

    @field_validator("candidates")
    @classmethod
    def _some(cls, value: dict[str, CandidateSettings]) -> dict[str, CandidateSettings]:
        if not value:
            raise ValueError("name at least one candidate")
        return value
