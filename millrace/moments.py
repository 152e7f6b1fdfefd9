"""Periods and moments as a person writes them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from millrace.errors import UserError

PERIOD = re.compile(r"[1-9]\d{0,5}[mhdw]")
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
# Moments so far from today are dates.
LONGEST = timedelta(days=36_500)


def period(text: str) -> timedelta:
    """How long `90m`, `24h`, `7d` or `2w` is."""
    return timedelta(**{UNITS[text[-1]]: int(text[:-1])})


def _in_reach(text: str) -> str:
    if period(text) > LONGEST:
        raise ValueError("is longer than a hundred years")
    return text


Period = Annotated[str, Field(pattern=f"^{PERIOD.pattern}$"), AfterValidator(_in_reach)]
"""A period in a file of settings."""


def begin(text: str, now: datetime) -> datetime:
    """`24h` before now, or the moment `2026-11-20T08:00`; without a zone it is UTC.

    Raises:
        UserError: it is neither, or not in the past.
    """
    if PERIOD.fullmatch(text):
        try:
            return now - period(text)
        except OverflowError:
            raise UserError(f"--since {text}: is longer ago than there are dates.") from None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UserError(
            f"--since {text}: write a period (90m, 24h, 7d, 2w) or a moment (2026-11-20, 2026-11-20T08:00)."
        ) from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if moment >= now:
        raise UserError(f"--since {text}: is not in the past.")
    return moment.astimezone(UTC)
