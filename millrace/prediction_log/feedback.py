"""Feedback: what turned out to be true of rows that were answered, as the contract's target allows it.

A body is `{"outcomes": [{"request": "4f1c", "row": 0, "actual": 2.5}, {"key": "flat 7", "actual": 3}]}`: each
outcome is of a request's row, counted from 0 as in its rows, or of a key.
"""

import re
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from millrace.contract import Problem
from millrace.prediction_log.entries import Outcome
from millrace.requests import (
    MAX_ROWS,
    PLACE,
    SHOWN,
    InvalidRequest,
    broken_rule,
    described,
    json_type,
    malformed,
    not_what,
    sent_value,
    shown_value,
)

FORM = """{"outcomes": [{"request": "...", "row": 0, "actual": ...}, {"key": "...", "actual": ...}]}"""
FIELD = re.compile(r"\.outcomes\[(?P<row>\d+)\](?:\.(?P<field>.*))?", re.DOTALL)
LONGEST_NAME = 200
NAME: Any = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)]


class FeedbackReader:
    """Reads the outcomes that a problem's contract allows."""

    def __init__(self, problem: Problem) -> None:
        """Derive the types from the contract."""
        self._by_key = problem.logged_key is not None
        fields: list[Any] = [
            ("actual", json_type(problem.target)),
            ("request", NAME | None, None),
            # To JSON 1.0 is an integer, too.
            ("row", Annotated[float, Meta(ge=0, lt=MAX_ROWS, multiple_of=1)], 0),
            *([("key", NAME | None, None)] if self._by_key else []),
        ]
        one = msgspec.defstruct("Outcome", fields, forbid_unknown_fields=True, kw_only=True)
        many: Any = Annotated[list[one], Meta(min_length=1, max_length=MAX_ROWS)]  # type: ignore[valid-type]
        self._body: Any = msgspec.defstruct("Feedback", [("outcomes", many)], forbid_unknown_fields=True)
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(self._body)
        name = f"text of 1 to {LONGEST_NAME} characters"
        self._allowed = {
            "actual": described(problem.target),
            "request": f"{name}, or null",
            "row": f"an integer from 0 to {MAX_ROWS - 1:,}",
            **({"key": f"{name}, or null"} if self._by_key else {}),
        }

    def read(self, body: bytes) -> list[Outcome]:
        """The outcomes in a body.

        Raises:
            InvalidRequest: not JSON, or not what the contract allows; its `row` is the outcome's number.
        """
        try:
            sent = self._decoder.decode(body).outcomes
        except msgspec.ValidationError as error:
            raise self._fault(str(error), body) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise malformed(error, body) from None
        outcomes = []
        for number, one in enumerate(sent):
            key = one.key if self._by_key else None
            if (one.request is None) == (key is None):
                raise InvalidRequest(self._unnamed(number), "required", row=number)
            outcomes.append(Outcome(one.actual, one.request, int(one.row), key))
        return outcomes

    def schema(self) -> dict[str, Any]:
        """The JSON Schema (2020-12) of a body."""
        return msgspec.json.schema(self._body)

    def schemas(self, place: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The same with what it refers to, by name, apart: see `RequestReader.schemas`."""
        [schema], named = msgspec.json.schema_components([self._body], ref_template=place)
        text, null = {"type": "string"}, {"type": "null"}
        by_request = {"required": ["request"], "properties": {"request": text, "key": null}}
        by_key = {"required": ["key"], "properties": {"request": null, "key": text}}
        # One name, not both, which types alone cannot say.
        named["Outcome"]["oneOf"] = [by_request, by_key] if self._by_key else [by_request]
        return schema, named

    def _unnamed(self, number: int) -> str:
        if self._by_key:
            return f"Outcome {number}: name either a 'request' and its 'row', or a 'key'."
        return f"Outcome {number}: name the 'request' and the 'row' in it."

    def _fault(self, error: str, body: bytes) -> InvalidRequest:
        """Say in the contract's words what msgspec found first."""
        place = PLACE.fullmatch(error)
        reason, path = (place["reason"], place["path"]) if place else (error, "")
        found = FIELD.fullmatch(path)
        if found is None:
            if "of length" in reason:
                message = f"'outcomes' must hold 1 to {MAX_ROWS:,} outcomes."
                return InvalidRequest(message, "rows", field="outcomes")
            return InvalidRequest(f"The body must be of the form {FORM}.", "type")
        number, field = int(found["row"]), found["field"]
        if field is None:
            return self._outcome_fault(number, reason)
        sent = sent_value(body, "outcomes", number, field)
        message = f"Outcome {number}: '{field}' must be {self._allowed[field]}{not_what(sent)}."
        return InvalidRequest(message, broken_rule(reason), row=number, field=field, value=shown_value(sent))

    def _outcome_fault(self, number: int, reason: str) -> InvalidRequest:
        name = reason.partition("`")[2].removesuffix("`")[:SHOWN]
        if "unknown field" in reason:
            known = ", ".join(f"'{field}'" for field in self._allowed)
            message = f"Outcome {number}: there is no field '{name}'; there are {known}."
            return InvalidRequest(message, "unknown", row=number, field=name)
        if "missing required field" in reason:
            return InvalidRequest(
                f"Outcome {number}: '{name}' is missing.", "required", row=number, field=name
            )
        return InvalidRequest(f"Outcome {number} must be an object of fields.", "type", row=number)
