"""A search for hyperparameters on rows that stay on disk."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from millrace.large.training import StoredFold
from millrace.models import CandidateSettings
from millrace.tuning import Search, Space, Tried


@dataclass(frozen=True)
class StoredSearch(Search):
    """All trials are of the same bins, and each fit has all processors."""

    stored: list[StoredFold]

    @classmethod
    def of(
        cls,
        candidate: str,
        settings: CandidateSettings,
        space: dict[str, Space],
        folds: list[StoredFold],
        *,
        seed: int,
        code: str,
    ) -> "StoredSearch":
        """A search on some folds; what it is called depends on their rows, too."""
        bins = folds[0].bins
        about = " ".join([code, bins.rows.digest, *(f"{fold.number}/{fold.folds}" for fold in folds)])
        return cls(candidate, settings, space, bins.about, [], seed, about, folds)

    def ready(self, pool: Executor) -> Sequence[Tried]:  # noqa: ARG002
        return self.stored
