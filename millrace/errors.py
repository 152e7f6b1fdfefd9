"""The one exception for what a user can mend."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something the user can mend: what is wrong, where, and what to do, in a sentence.

    The command line prints it without a traceback and exits with 2.
    """


class Incomplete(UserError):  # noqa: N818 - it says how the work is, not what went wrong
    """What could be done is done, and the rest is for the user to mend: the command line exits with 3."""


class EngineError(UserError):
    """Who computes is at fault: the scheduler or the workers of a cluster, not the data."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the known name most like `name`, or an empty string."""
    by_lower = {option.lower(): option for option in known}
    matches = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return f" Did you mean '{by_lower[matches[0]]}'?" if matches else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Build the error for a name that is not among the known ones."""
    options = sorted(known)
    return UserError(
        f"Unknown {kind} '{name}'.{nearest(name, options)} Known: {', '.join(options) or 'none'}."
    )
