"""Credentials: written as placeholders, filled in when a source is read, taken out of every message.

A variable is written `${NAME}` and kept as `$[NAME]`: ZenML would fill in the first wherever it sees it in a
run's parameters, and store the value in its database.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from urllib.parse import quote, quote_plus, unquote

from millrace.errors import UserError

WRITTEN = re.compile(r"\$\{([A-Za-z_]\w*)\}")
KEPT = re.compile(r"\$\[([A-Za-z_]\w*)\]")
# A variable as it is kept, or `{{secret.key}}` in ZenML's own syntax.
PLACEHOLDER = re.compile(
    r"\$\[(?P<name>[A-Za-z_]\w*)\]|\{\{\s*(?P<secret>[^\s.{}]+)\.(?P<key>[^\s{}]+)\s*\}\}"
)
# In scheme://user:password@host. A port and a path with an @ look alike, but for the slash.
PASSWORD = re.compile(r"(?<=://)(?P<user>[^:/@]*):(?!\d+/)(?P<value>.*)@")
PARAMETER = re.compile(
    r"(?i)[?&][\w.-]*(?:passw(?:or)?d|pwd|secret|token|signature|sig|api_?key|access_?key)[\w.-]*="
    r"(?P<value>[^&#]*)"
)

SecretReader = Callable[[str, str], str]


def keep(text: str) -> str:
    """Text as the user writes it, with variables as they are kept."""
    return WRITTEN.sub(r"$[\1]", text)


def show(text: str) -> str:
    """Kept text as the user writes it."""
    return KEPT.sub(r"${\1}", text)


def refuse_clear_text(uri: str) -> None:
    """Refuse a URI with a password in it, in a sentence without the password.

    Raises:
        UserError: always names what to write instead.
    """
    if "://" not in uri:
        return
    uri = uri.partition("#")[0]
    for pattern in (PASSWORD, PARAMETER):
        for match in pattern.finditer(uri):
            if PLACEHOLDER.sub("", match["value"]):
                shown = show(PARAMETER.sub(_masked, PASSWORD.sub(_masked, uri)))
                raise UserError(
                    f"{shown}: a password stands in clear text; write ${{NAME}} in its place and set the "
                    "environment variable NAME, or {{secret.key}} with the names of a ZenML secret."
                )


def _masked(match: re.Match[str]) -> str:
    start, end = match.span("value")
    return match[0][: start - match.start()] + "***" + match[0][end - match.start() :]


class Credentials:
    """What placeholders stand for, as far as it has been looked up."""

    def __init__(self, read_secret: SecretReader | None = None) -> None:
        self._read_secret = read_secret
        self._shown: dict[str, str] = {}

    def fill(self, text: str) -> str:
        """Replace each placeholder by its value.

        Raises:
            UserError: the variable is not set, or the secret cannot be read.
        """
        authority = re.match(r"[^/]+://[^/?#]*@", text)
        user_ends = authority.end() if authority else 0

        def value(match: re.Match[str]) -> str:
            found = self._look_up(match)
            # In user:password@host, a password with an @ or a slash would end the password.
            return quote(found, safe="") if match.end() < user_ends else found

        filled = PLACEHOLDER.sub(value, text)
        for match in PASSWORD.finditer(filled):
            self._hide(match["value"], "***")
        return filled

    def hide(self, text: str) -> str:
        """Put the placeholders back where a text quotes what they stand for."""
        for value in sorted(self._shown, key=len, reverse=True):
            text = text.replace(value, self._shown[value])
        return text

    def _look_up(self, match: re.Match[str]) -> str:
        name = match["name"]
        if name is not None:
            found = os.environ.get(name)
            if found is None:
                raise UserError(
                    f"The environment variable {name} is not set, and the source has ${{{name}}}."
                )
        elif self._read_secret is None:
            raise UserError(f"{match[0]}: secrets can be read in a pipeline only; use ${{NAME}} here.")
        else:
            found = self._read_secret(match["secret"], match["key"])
        self._hide(found, show(match[0]))
        return found

    def _hide(self, value: str, shown: str) -> None:
        for spelling in (value, quote(value, safe=""), quote_plus(value), unquote(value)):
            if spelling:
                self._shown.setdefault(spelling, shown)
