"""What a training run may be told: the `parameters` of configs/training.yaml."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from millrace.contract import Problem
from millrace.errors import UserError, unknown
from millrace.leaderboard import BASELINE
from millrace.models import MODELS, CandidateSettings, keeps_monotonic
from millrace.models.blend import NAME as BLEND
from millrace.promotion import Limits
from millrace.splitting import PARTS, check_by_rows
from millrace.strict import Strict
from millrace.tuning import Space, Tuning, TuningResult


class Large(Strict):
    """From which size on rows stay on disk, and how many of them stand for all where all are too many.

    `mib` is that of the contract's columns at eight bytes a cell: of text files, what they take.
    """

    mib: float = Field(512, ge=0, allow_inf_nan=False)
    draw: int = Field(100_000, ge=100, le=10_000_000)


class TrainingSettings(Strict):
    """Knobs of the training pipeline; the problem itself is in the contract."""

    seed: int = Field(0, ge=0, lt=2**31, description="seed of folds, models, samples and bootstraps")
    folds: int = Field(5, ge=2, le=20)
    repeats: int = Field(1, ge=1, le=20, description="how often the folds are drawn, with another seed each")
    candidates: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], CandidateSettings]
    blend: bool = Field(True, description="whether a blend of the candidates is one more of them")
    bad_rows_limit: float = Field(0.05, ge=0, lt=1, description="share of bad rows that stops the run")
    bootstrap: int = Field(1000, ge=100, le=100_000, description="resamples behind each interval")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="of intervals, and needed to promote")
    explained_rows: int = Field(1000, ge=10, le=100_000)
    reference_rows: int = Field(2000, ge=10, le=1_000_000, description="kept in the bundle for drift")
    tuning: Tuning = Tuning()
    promotion: Limits = Limits(worst_slice=1.1)
    large: Large = Large()

    @field_validator("candidates")
    @classmethod
    def _some(cls, value: dict[str, CandidateSettings]) -> dict[str, CandidateSettings]:
        if not value:
            raise ValueError("name at least one candidate")
        if BASELINE in value:
            raise ValueError(f"'{BASELINE}' is in the table already; give the candidate another name")
        if BLEND in value:
            raise ValueError(f"'{BLEND}' is the name of the candidates' own blend; choose another")
        return value

    @model_validator(mode="after")
    def _searchable(self) -> "TrainingSettings":
        """Whether there is something to search, and every space fits its candidate; not where nothing is."""
        tuning = self.tuning
        if not tuning.trials:
            if tuning.seconds is not None:
                raise _fault(
                    ("tuning", "seconds"), "limits a search without trials; set tuning.trials as well"
                )
            return self
        if not any(tuning.spaces.values()):
            raise _fault(("tuning", "spaces"), "names nothing to search, but tuning.trials is above 0")
        for candidate, parameters in tuning.spaces.items():
            if candidate not in self.candidates:
                raise _fault(
                    ("tuning", "spaces", candidate), str(unknown("candidate", candidate, self.candidates))
                )
            for parameter, space in parameters.items():
                try:
                    space.check(parameter, self.candidates[candidate])
                except ValueError as error:
                    raise _fault(("tuning", "spaces", candidate, parameter), str(error)) from None
        return self

    @property
    def searched(self) -> dict[str, dict[str, Space]]:
        """The spaces of the candidates that are to be tuned."""
        return {name: space for name, space in self.tuning.spaces.items() if self.tuning.trials and space}

    def tuned(self, results: Iterable[TuningResult]) -> "TrainingSettings":
        """The same with the best settings that tuning found."""
        found = {result.candidate: result.settings for result in results}
        return self.model_copy(update={"candidates": self.candidates | found})

    def candidates_for(self, problem: Problem) -> dict[str, CandidateSettings]:
        """The candidates that can keep the contract's `monotonic` columns."""
        return {
            name: candidate
            for name, candidate in self.candidates.items()
            if not problem.monotonic or keeps_monotonic(candidate.kind)
        }

    def check(self, problem: Problem) -> None:
        """Refuse what cannot be done for this problem.

        Raises:
            UserError: repeats of a split by time, or no candidate that can keep to `monotonic`.
        """
        if self.repeats > 1 and problem.split.by == "time":
            raise UserError(
                f"'repeats' is {self.repeats}, but a split by time makes its folds in one way only; "
                "set it to 1: --set repeats=1."
            )
        if not self.candidates_for(problem):
            kinds = " or ".join(filter(keeps_monotonic, MODELS))
            raise UserError(
                f"'{next(iter(problem.monotonic))}' is 'monotonic', which none of the candidates "
                f"{', '.join(self.candidates)} can promise; add one of kind {kinds}."
            )

    def on_disk(self, problem: Problem) -> "TrainingSettings":
        """The same for a table whose rows stay on disk: with the candidates alone that learn from there.

        Raises:
            UserError: there are none, or something is asked for that takes all rows in memory.
        """
        check_by_rows(problem)
        smaller = f"a table of {self.large.mib:g} MiB or more, whose rows stay on disk"
        kept = {
            name: candidate
            for name, candidate in self.candidates_for(problem).items()
            if candidate.kind == "lightgbm"
        }
        if not kept:
            raise UserError(
                f"None of the candidates {', '.join(self.candidates)} learns from {smaller}; add one of kind "
                "lightgbm, or raise the size: --set large.mib=MIB."
            )
        if self.repeats > 1:
            raise UserError(
                f"'repeats' is {self.repeats}, but {smaller}, is parted in one way; set it to 1: "
                "--set repeats=1."
            )
        if self.folds > PARTS:
            raise UserError(
                f"'folds' is {self.folds}, but {smaller}, has {PARTS} parts at most; --set folds={PARTS}."
            )
        spaces = {name: space for name, space in self.tuning.spaces.items() if name in kept}
        tuning = self.tuning.model_copy(update={"spaces": spaces})
        return self.model_copy(update={"candidates": kept, "blend": False, "tuning": tuning})


def _fault(location: tuple[str, ...], reason: str) -> ValidationError:
    """A fault that stands where its value is: a validator of the whole would place it at the top."""
    error = PydanticCustomError("tuning", "{reason}", {"reason": reason})
    return ValidationError.from_exception_data(
        "TrainingSettings", [InitErrorDetails(type=error, loc=location, input=None)]
    )
