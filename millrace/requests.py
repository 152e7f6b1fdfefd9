"""The contract at the service's door: strict JSON in, encoded rows out, and errors that name the field.

A request is `{"rows": [{...}, ...]}`, with `"interval": 0.9` beside the rows where answers are to say how
sure they are. Nothing is coerced: text is not a number, a boolean is not a number, and what the contract does
not know is refused.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from math import isfinite, nan
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from millrace.bundle import FittedModel
from millrace.contract import LARGEST, Column, Problem
from millrace.errors import nearest
from millrace.features import encoded
from millrace.intervals import HIGHEST, LOWEST
from millrace.transforms import Feature, Matrix

MAX_ROWS = 10_000
# How many characters of what was sent, and how many categories, an error repeats.
SHOWN = 60
LISTED = 10
# Bytes of a body for each of its rows, above which it is kept without what says nothing.
LONG = 4096
EPOCH, MICROSECOND = datetime(1970, 1, 1), timedelta(microseconds=1)
FORM = """{"rows": [{...}, ...]}, with "interval": 0.9 beside "rows" if you like"""
LEVEL: Any = Annotated[
    float,
    Meta(
        ge=LOWEST,
        le=HIGHEST,
        description="how often the truth is to lie in the answer's interval, or be in its set of classes",
        examples=[0.9],
    ),
]
PLACE = re.compile(r"(?P<reason>.*) - at `\$(?P<path>.*)`", re.DOTALL)
FIELD = re.compile(r"\.rows\[(?P<row>\d+)\](?:\.(?P<field>.*))?", re.DOTALL)


class InvalidRequest(Exception):  # noqa: N818 - as HTTP says it
    """A body that cannot be answered, and what to change, in a sentence.

    `status` is 400 for malformed JSON and 422 for a broken contract. `rule` is the one that is broken:
    json, rows, type, range, category, required or unknown. `row` counts from 0; `value` is what was sent.
    """

    def __init__(
        self,
        message: str,
        rule: str,
        *,
        status: int = 422,
        row: int | None = None,
        field: str | None = None,
        value: Any = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.rule = rule
        self.status = status
        self.row = row
        self.field = field
        self.value = value


class Question(msgspec.Struct, frozen=True, gc=False):
    """What is asked: the body, its rows encoded for a model [rows, inputs], and a level.

    `keys` say what the contract's key column holds, None where it is left out. Questions wait in the
    prediction log, thousands of them: there is nothing in them for the garbage collector to look at.
    """

    body: bytes
    matrix: Matrix
    keys: Sequence[str | None]
    interval: float | None


class RequestReader:
    """Reads the requests that a problem's contract allows."""

    def __init__(self, problem: Problem) -> None:
        """Derive the types from the contract."""
        self.problem = problem
        row = _row_type(problem)
        rows: Any = Annotated[list[row], Meta(min_length=1, max_length=MAX_ROWS)]  # type: ignore[valid-type]
        self._body: Any = msgspec.defstruct(
            "Request", [("rows", rows), ("interval", LEVEL | None, None)], forbid_unknown_fields=True
        )
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(self._body, dec_hook=_moment)
        features = list(problem.features)
        self._encoders = [(features.index(column.name), _encoder(column)) for column in encoded(problem)]
        self._key = features.index(problem.key) if problem.key in features else None

    def read(self, body: bytes) -> Question:
        """What a body asks.

        Raises:
            InvalidRequest: not JSON, or not what the contract allows.
        """
        try:
            asked = self._decoder.decode(body)
        except msgspec.ValidationError as error:
            raise self._fault(str(error), body) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise malformed(error, body) from None
        rows = list(map(msgspec.structs.astuple, asked.rows))
        keys = [row[self._key] for row in rows] if self._key is not None else (None,) * len(rows)
        if len(body) > LONG * len(rows):
            # Spaces, or the same member again and again: what waits to be logged must not grow with them.
            body = msgspec.json.encode(msgspec.json.decode(body))
        return Question(body, self._encoded(rows), keys, asked.interval)

    def columns(self, bodies: Iterable[bytes]) -> dict[str, Sequence[Any]]:
        """The features of all rows of bodies that `read` takes, by name; moments are UTC without a zone."""
        rows = [row for body in bodies for row in self._decoder.decode(body).rows]
        values = zip(*map(msgspec.structs.astuple, rows), strict=True)
        return dict(zip(self.problem.features, values, strict=True))

    def _encoded(self, rows: Sequence[tuple[Any, ...]]) -> Matrix:
        """The same numbers as `encode_inputs` makes of tables, without the tables."""
        # NumPy itself makes NaN of None, and numbers of booleans.
        if len(rows) == 1:
            # In half the time.
            row = rows[0]
            values = [
                row[source] if encoder is None else encoder(row[source]) for source, encoder in self._encoders
            ]
            return np.array([values], dtype=np.float64)
        columns = list(zip(*rows, strict=True))
        matrix = np.empty((len(rows), len(self._encoders)))
        for position, (source, encoder) in enumerate(self._encoders):
            matrix[:, position] = columns[source] if encoder is None else list(map(encoder, columns[source]))
        return matrix

    def schema(self) -> dict[str, Any]:
        """The JSON Schema (2020-12) of a request."""
        return msgspec.json.schema(self._body, schema_hook=_schema_of_moment)

    def schemas(self, place: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The same with what it refers to, by name, apart: at `place`, as "#/components/schemas/{name}"."""
        [schema], named = msgspec.json.schema_components(
            [self._body], schema_hook=_schema_of_moment, ref_template=place
        )
        return schema, named

    def _fault(self, error: str, body: bytes) -> InvalidRequest:
        """Say in the contract's words what msgspec found first."""
        place = PLACE.fullmatch(error)
        reason, path = (place["reason"], place["path"]) if place else (error, "")
        found = FIELD.fullmatch(path)
        if found is None:
            if "of length" in reason:
                return InvalidRequest(f"'rows' must hold 1 to {MAX_ROWS:,} rows.", "rows", field="rows")
            if path == ".interval":
                sent = member(body, "interval")
                message = f"'interval' must be a number from {LOWEST} to {HIGHEST}, or null{not_what(sent)}."
                return InvalidRequest(message, broken_rule(reason), field="interval", value=shown_value(sent))
            return InvalidRequest(f"The body must be of the form {FORM}.", "type")
        row = int(found["row"])
        if found["field"] is None:
            return self._row_fault(row, reason)
        return self._field_fault(row, found["field"], reason, body)

    def _row_fault(self, row: int, reason: str) -> InvalidRequest:
        name = reason.partition("`")[2].removesuffix("`")[:SHOWN]
        if "unknown field" in reason:
            message = f"Row {row}: there is no field '{name}'.{nearest(name, self.problem.features)}"
            return InvalidRequest(message, "unknown", row=row, field=name)
        if "missing required field" in reason:
            return InvalidRequest(f"Row {row}: '{name}' is missing.", "required", row=row, field=name)
        return InvalidRequest(f"Row {row} must be an object of fields.", "type", row=row)

    def _field_fault(self, row: int, field: str, reason: str, body: bytes) -> InvalidRequest:
        sent = sent_value(body, "rows", row, field)
        message = f"Row {row}: '{field}' must be {_allowed(self.problem, field)}{not_what(sent)}."
        return InvalidRequest(message, broken_rule(reason), row=row, field=field, value=shown_value(sent))


def write(
    fitted: FittedModel, predictions: NDArray[np.float64], level: float | None = None
) -> list[dict[str, Any]]:
    """One answer a row, from the values [rows] or probabilities [rows, classes] of a model.

    With a level each has the `interval` that holds the truth so often, its end null where there is none; or
    the `set` of classes that does.

    Raises:
        ValueError: a prediction is not a finite number.
    """
    # For one row NumPy's own way takes five times as long.
    if not all(map(isfinite, predictions.ravel().tolist())):
        raise ValueError("The model predicted something that is not a finite number.")
    answers, classes = fitted.answers(predictions), fitted.problem.classes
    if not classes:
        written = [{"prediction": answer} for answer in answers]
    else:
        written = [
            {"prediction": answer, "probabilities": dict(zip(classes, row, strict=True))}
            for answer, row in zip(answers, predictions.tolist(), strict=True)
        ]
    if level is None:
        return written
    if classes:
        sets = fitted.sets(predictions, level)
        return [{**answer, "set": names} for answer, names in zip(written, sets, strict=True)]
    bounds = fitted.bounds(predictions, level).tolist()
    return [
        # JSON knows no infinity.
        {**answer, "interval": [end if isfinite(end) else None for end in ends]}
        for answer, ends in zip(written, bounds, strict=True)
    ]


class Moment(datetime):
    """A date or date-time as ISO 8601 text; without a zone it is UTC. Kept in UTC without a zone."""


def _encoder(column: Feature) -> Callable[[Any], float] | None:
    """What makes a number of a decoded value; None where NumPy does."""
    if column.kind == "category":
        codes: dict[Any, float] = {name: float(code) for code, name in enumerate(column.categories)}
        return lambda value: codes.get(value, nan)
    return _seconds if column.kind == "datetime" else None


def _seconds(moment: datetime | None) -> float:
    """Seconds since 1970, as NumPy has them: whole microseconds, divided."""
    return nan if moment is None else (moment - EPOCH) / MICROSECOND / 1e6


def _row_type(problem: Problem) -> Any:
    fields: list[Any] = []
    for position, (name, column) in enumerate(problem.features.items()):
        if names_rows(problem, name):
            fields.append((f"f{position}", str | None, None))
        elif column.nullable or not column.input:
            fields.append((f"f{position}", json_type(column) | None, None))
        else:
            fields.append((f"f{position}", json_type(column)))
    names = {f"f{position}": name for position, name in enumerate(problem.features)}
    return msgspec.defstruct("Row", fields, rename=names, forbid_unknown_fields=True, kw_only=True, gc=False)


def names_rows(problem: Problem, name: str) -> bool:
    """Whether a feature is the key or an id, which is text whatever its type."""
    return problem.features[name].type == "id" or name == problem.key


def json_type(column: Column) -> Any:
    """The type of a column's values in JSON, as msgspec checks it; null is not of it."""
    about = f"{column.meaning} [{column.unit}]" if column.unit else column.meaning or None
    if column.unseen == "missing":
        return Annotated[str, Meta(description=about, examples=list(column.categories))]
    if column.type == "category":
        return Annotated[Literal[column.categories], Meta(description=about)]
    if column.type == "boolean":
        return Annotated[bool, Meta(description=about)]
    if column.type == "datetime":
        return Annotated[Moment, Meta(description=about)]
    low, high = column.range or (None, None)
    low = -LARGEST[column.type] if low is None else low
    high = LARGEST[column.type] if high is None else high
    # An integer column is float64 in training too, and to JSON 5.0 is an integer.
    whole = 1 if column.type == "integer" else None
    return Annotated[float, Meta(ge=low, le=high, multiple_of=whole, description=about)]


def _moment(kind: type[Moment], value: Any) -> Moment:
    if not isinstance(value, str):
        raise ValueError("not text")
    moment = kind.fromisoformat(value)
    try:
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except OverflowError:
        # A zone that leads past an end of the calendar: the moment at that end.
        return moment.replace(tzinfo=None)


def _schema_of_moment(_: type) -> dict[str, Any]:
    return {"type": "string", "format": "date-time"}


def _allowed(problem: Problem, field: str) -> str:
    """What a field may hold, as the end of a sentence."""
    column = problem.features[field]
    if names_rows(problem, field):
        return "text, or null"
    text = described(column)
    return f"{text}, or null" if column.nullable or not column.input else text


def described(column: Column) -> str:
    """What a column's values are, in words."""
    if column.type == "category":
        listed = ", ".join(f'"{name}"' for name in column.categories[:LISTED])
        text = f"one of {listed}" + (", ..." if len(column.categories) > LISTED else "")
        return text + (" (other text counts as missing)" if column.unseen == "missing" else "")
    if column.type == "boolean":
        return "true or false"
    if column.type == "datetime":
        return "an ISO 8601 date or date-time"
    return ("an integer" if column.type == "integer" else "a number") + _bounds(column)


def _bounds(column: Column) -> str:
    low, high = column.range or (None, None)
    if low is not None and high is not None:
        return f" from {low:.15g} to {high:.15g}"
    if low is not None:
        return f" of at least {low:.15g}"
    return f" of at most {high:.15g}" if high is not None else ""


def malformed(error: Exception, body: bytes) -> InvalidRequest:
    """The refusal of a body that msgspec cannot read as JSON."""
    hint = " JSON knows no NaN or Infinity; a missing value is null." if _has_nan(body) else ""
    message = f"The body is not valid JSON: {str(error).removeprefix('JSON is malformed: ')}.{hint}"
    return InvalidRequest(message, "json", status=400)


def broken_rule(reason: str) -> str:
    """The rule that a value broke, from msgspec's words."""
    if reason.startswith("Invalid enum value"):
        return "category"
    if re.search(r" [<>]= |out of range", reason):
        return "range"
    return "type"


def sent_value(body: bytes, rows: str, number: int, field: str) -> str:
    """The JSON text of the value that a body was refused for, in its list `rows`; empty if it is no JSON."""
    try:
        listed = msgspec.json.decode(body, type=dict[str, msgspec.Raw])[rows]
        return member(bytes(msgspec.json.decode(listed, type=list[msgspec.Raw])[number]), field)
    except (msgspec.DecodeError, RecursionError):
        return ""


def member(text: bytes, name: str) -> str:
    """The JSON text of an object's member."""
    try:
        return bytes(msgspec.json.decode(text, type=dict[str, msgspec.Raw])[name]).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""


def not_what(sent: str) -> str:
    """What was sent instead, as the end of a sentence."""
    return f", not {sent[:SHOWN]}" if sent else ""


def shown_value(sent: str) -> Any:
    """A sent value as an error can carry it: a short scalar as it is, all else as the start of its text."""
    if len(sent) <= SHOWN and not sent.startswith(("[", "{")):
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(sent)
    return sent[:SHOWN] or None


def _has_nan(body: bytes) -> bool:
    return re.search(rb"[\[:,]\s*-?(NaN|Infinity)", body) is not None
