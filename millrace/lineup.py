"""Which bundle answers a request: the champion, or for a share of the keys a challenger.

A lineup never changes: another champion is another lineup, put in the old one's place at once.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal
from zlib import crc32

import msgspec

from millrace.bundle import Bundle
from millrace.contract import Problem
from millrace.errors import UserError
from millrace.metrics import Floats
from millrace.prediction_log import ModelName
from millrace.requests import Question, RequestReader, write
from millrace.scoring import Scorer

Role = Literal["champion", "challenger", "shadow"]


@dataclass(frozen=True)
class Variant:
    """A bundle that serves, the name and version it is registered under, and what it serves as."""

    role: Role
    name: str
    version: str
    bundle: Bundle
    scorer: Scorer = field(compare=False, repr=False)

    @cached_property
    def identity(self) -> ModelName:
        """What an answer says of the model that gave it."""
        return ModelName(self.name, self.version, self.bundle.digest)

    def answer(self, question: Question) -> tuple[Floats, bytes]:
        """Values [rows] or probabilities [rows, classes], and the JSON list of what is answered for each row.

        Raises:
            ValueError: one of them is not a finite number.
        """
        predictions = self.scorer.predict(question.matrix)
        return predictions, msgspec.json.encode(write(self.bundle.fitted, predictions, question.interval))


@dataclass(frozen=True)
class Lineup:
    """The variants that serve together; `share` of the keys go to the challenger."""

    champion: Variant
    challenger: Variant | None = None
    share: float = 0.0
    shadow: Variant | None = None

    @property
    def variants(self) -> list[Variant]:
        """All that there are, the champion first."""
        return [variant for variant in (self.champion, self.challenger, self.shadow) if variant is not None]

    def choose(self, key: bytes) -> Variant:
        """Who answers for a key: for the same key and share the same one, whenever and wherever."""
        if self.challenger is None:
            return self.champion
        return self.challenger if crc32(key) < self.share * 2**32 else self.champion

    def without(self, variant: Variant) -> "Lineup":
        """The lineup after a challenger or a shadow has been switched off."""
        challenger = None if variant is self.challenger else self.challenger
        return replace(self, challenger=challenger, shadow=None if variant is self.shadow else self.shadow)

    def check(self) -> None:
        """See that whatever one of the variants can answer, the others can.

        Raises:
            UserError: their contracts ask for different things.
        """
        for variant in self.variants[1:]:
            if contract_differs(self.champion.bundle.problem, variant.bundle.problem):
                raise UserError(
                    f"The {variant.role} {variant.name}:{variant.version} has another contract than the "
                    f"champion {self.champion.name}:{self.champion.version}: no request can go to both."
                )


def contract_differs(one: Problem, other: Problem) -> bool:
    """Whether there are requests that only one of them takes, or answers that mean something else."""
    return one.target != other.target or RequestReader(one).schema() != RequestReader(other).schema()
