"""What is logged: answered requests, and outcomes that became known later; and how rows are read for it."""

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import compress
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

import msgspec

from millrace.contract import OWN_PREFIX, Problem

PREDICTION = "_prediction"
Row: TypeAlias = msgspec.Struct


class ModelName(NamedTuple):
    """Which model answered."""

    name: str
    version: str
    digest: str


class Entry(msgspec.Struct, gc=False):
    """One answered request, as the service has it at hand: nothing is copied or encoded yet.

    `time` is in seconds since 1970, `seconds` how long the answer took. `rows` are the decoded rows of the
    request, `answers` one for each as `millrace.requests.write` makes them. Neither may change afterwards.
    """

    time: float
    request: str
    variant: str
    model: ModelName
    seconds: float
    rows: Sequence[Row]
    answers: Sequence[dict[str, Any]]
    watched: bool = False
    """Whether the log's watcher was told of it: rows of a store that fails are taken up again."""


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


Item: TypeAlias = Entry | Outcomes
encoder = msgspec.json.Encoder(enc_hook=lambda moment: datetime.isoformat(moment))


def encode_each(values: Sequence[Any]) -> list[str]:
    """Each value as JSON; for all of them at once it takes a fraction of the time."""
    return encoder.encode_lines(values).decode().split("\n")[:-1]


class RowForm(NamedTuple):
    """How rows of one type are read."""

    key: Callable[[Row], str | None]
    texts: Callable[[Sequence[Row]], list[str]]
    columns: Callable[[Sequence[Row]], dict[str, tuple[Any, ...]]]


class RowForms:
    """Reads decoded rows as the log keeps them: without the contract's private columns."""

    def __init__(self, problem: Problem) -> None:
        """`problem` says what is private, and which column is the key."""
        self._private = {name for name, column in problem.features.items() if column.private}
        self._key = None if problem.key in self._private else problem.key
        self._known: dict[type[Row], RowForm] = {}

    def of(self, kind: type[Row]) -> RowForm:
        """The form of a type of rows, that of a `millrace.requests.RequestReader`."""
        form = self._known.get(kind)
        if form is None:
            form = self._known[kind] = self._make(kind)
        return form

    def _make(self, kind: type[Row]) -> RowForm:
        fields = msgspec.structs.fields(kind)
        names = [field.encode_name for field in fields]
        public = [name not in self._private for name in names]
        keys = [field.name for field in fields if field.encode_name == self._key]

        def key(row: Row) -> str | None:
            return getattr(row, keys[0]) if keys else None

        def columns(rows: Sequence[Row]) -> dict[str, tuple[Any, ...]]:
            values = zip(*map(msgspec.structs.astuple, rows), strict=True)
            return dict(zip(compress(names, public), compress(values, public), strict=True))

        if all(public):
            return RowForm(attrgetter(keys[0]) if keys else key, encode_each, columns)
        shown = [(field.name, Any) for field in compress(fields, public)]
        rename = {field.name: field.encode_name for field in fields}
        logged = msgspec.defstruct("Logged", shown, rename=rename, gc=False)

        def texts(rows: Sequence[Row]) -> list[str]:
            return encode_each([logged(*compress(msgspec.structs.astuple(row), public)) for row in rows])

        return RowForm(key, texts, columns)


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
