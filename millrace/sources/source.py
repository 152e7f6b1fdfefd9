"""What a problem's `source` may say: a URI, or a mapping with a query, filters or a pinned revision."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    WrapSerializer,
    model_validator,
)

from millrace.errors import UserError
from millrace.sources.credentials import keep, refuse_clear_text, show

DVC = "dvc://"


def _iso(value: Any) -> Any:
    """YAML reads 2020-01-01 as a date; JSON, which a source also travels as, knows only its text."""
    return value.isoformat() if isinstance(value, date) else value


def _text_encoding(name: str) -> str:
    """The name that Python has for an encoding."""
    try:
        "".encode(name)
    except LookupError:
        raise ValueError(f"there is no encoding '{name}'; cp1250 and iso8859-2 are two") from None
    return codecs.lookup(name).name


Scalar = Annotated[bool | int | float | str, BeforeValidator(_iso)]
Operator = Literal["==", "!=", "<", "<=", ">", ">=", "in"]
Filter = tuple[str, Operator, Scalar | tuple[Scalar, ...]]


class Source(BaseModel):
    """Where a table is: `uri`, or `repo`, `path` and `rev` of a file under DVC.

    `where` keeps the rows that fulfil every `[column, operator, value]`; a missing value fulfils none.
    Alone, a URI is written without a mapping. Credentials are placeholders: see credentials.py.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: str | None = None
    query: str | None = None
    sheet: str | None = None
    encoding: Annotated[str, AfterValidator(_text_encoding)] | None = None
    endpoint: str | None = None
    where: tuple[Filter, ...] = ()
    repo: str | None = None
    path: str | None = None
    rev: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _mapping(cls, given: Any) -> Any:
        given = {"uri": given} if isinstance(given, str) else given
        if isinstance(given, dict) and str(given.get("uri")).startswith(DVC):
            given = {**given, **_dvc(given["uri"]), "uri": None}
        if not isinstance(given, dict):
            return given
        return {key: keep(value) if isinstance(value, str) else value for key, value in given.items()}

    @model_validator(mode="after")
    def _consistent(self) -> Source:
        for text in (self.uri, self.endpoint, self.repo):
            refuse_clear_text(text or "")
        if not self.uri and not (self.repo and self.path):
            raise ValueError("name the table by 'uri', or by 'repo' and 'path' of a DVC repository")
        if self.uri and (self.repo or self.path or self.rev):
            raise ValueError("'repo', 'path' and 'rev' are for DVC and stand instead of 'uri'")
        for column, operator, value in self.where:
            if isinstance(value, tuple) != (operator == "in"):
                expected = "a list" if operator == "in" else "one value"
                raise ValueError(f"'where': {column} {operator} takes {expected}")
        return self

    @property
    def origin(self) -> str:
        """The source as one URI, as the user writes it: with placeholders where credentials go."""
        if self.uri is None:
            rev = f"&rev={self.rev}" if self.rev else ""
            return show(f"{DVC}{self.repo}?path={self.path}{rev}")
        part = self.query or self.sheet
        return show(f"{self.uri}#{' '.join(part.split())}" if part else self.uri)


def _shortest(source: Source, handler: Callable[[Source], dict[str, Any]]) -> dict[str, Any] | str:
    fields = {name: value for name, value in handler(source).items() if value}
    return str(source.uri) if fields.keys() == {"uri"} else fields


# A source as a contract writes it: a URI alone is text.
WrittenSource = Annotated[Source, WrapSerializer(_shortest)]


def _dvc(uri: str) -> dict[str, str]:
    repo, _, asked = uri.removeprefix(DVC).partition("?")
    values = {name: value[-1] for name, value in parse_qs(asked).items()}
    if not repo or "path" not in values or values.keys() - {"path", "rev"}:
        raise UserError(f"{uri}: write it as dvc://REPOSITORY?path=FILE&rev=REVISION.")
    return {"repo": repo, **values}
