"""What is logged: answered requests, and outcomes that became known later."""

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec

from millrace.contract import OWN_PREFIX, Problem
from millrace.requests import Question

PREDICTION = "_prediction"


class ModelName(NamedTuple):
    """Which model answered."""

    name: str
    version: str
    digest: str


class Entry(msgspec.Struct, gc=False):
    """One answered request, as the service has it at hand: nothing is copied, decoded or encoded for it.

    `time` is in seconds since 1970, `seconds` how long the answer took. `answers` is the JSON list of what
    was answered, one of `millrace.requests.write` a row. Its length is that of its rows.
    """

    time: float
    request: str
    variant: str
    model: ModelName
    seconds: float
    question: Question
    answers: bytes
    watched: bool = False
    """Whether the log's watcher was told of it: rows of a store that fails are taken up again."""

    def __len__(self) -> int:
        """How many rows it has."""
        return len(self.question.matrix)


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What turned out to be true of a row: of a request by its number, counted from 0, or of a key."""

    actual: float | bool | str
    request: str | None = None
    row: int = 0
    key: str | None = None


class Outcomes(msgspec.Struct, gc=False):
    """Outcomes that came together; `time` is in seconds since 1970."""

    time: float
    rows: Sequence[Outcome]

    def __len__(self) -> int:
        """How many they are."""
        return len(self.rows)


Item: TypeAlias = Entry | Outcomes


def answer_columns(answers: Sequence[dict[str, Any]], problem: Problem) -> dict[str, list[Any]]:
    """Answers as columns: the prediction, and probabilities or interval, null where there are none."""
    columns = {PREDICTION: [answer.get("prediction") for answer in answers]}
    if problem.classes:
        chances = [answer.get("probabilities") or {} for answer in answers]
        columns |= {
            f"{OWN_PREFIX}{name}": [chance.get(name) for chance in chances] for name in problem.classes
        }
        return columns
    ends = [answer.get("interval") or (None, None) for answer in answers]
    return {**columns, "_low": [low for low, _ in ends], "_high": [high for _, high in ends]}


def names_class(name: str, problem: Problem) -> bool:
    """Whether an answer's column has a class in it; the others have numbers."""
    return bool(problem.classes) and name == PREDICTION
