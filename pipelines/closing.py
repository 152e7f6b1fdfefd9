"""What the tables at the end of every command have in common."""

from pathlib import Path
from typing import TYPE_CHECKING

from millrace.durable import write_whole
from millrace.errors import Incomplete, UserError
from millrace.strict import Strict

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def open_console() -> "Console":
    """Standard output; wide enough for a table where it is no terminal."""
    from rich.console import Console

    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=120)


def make_facts(title: str | None = None) -> "Table":
    """A table of names and what is to be said of each."""
    from rich.table import Table
    from rich.text import Text

    facts = Table(
        # As Text: what stands between brackets in it is no markup.
        title=Text(f"\n{title}", style="bold") if title else None,
        title_justify="left",
        show_header=False,
        box=None,
        padding=(0, 2, 0, 0),
    )
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    return facts


def write_summary(summary: Strict, path: Path) -> None:
    """Write a summary as JSON, whole or not at all."""
    try:
        write_whole(path, (summary.model_dump_json(indent=2) + "\n").encode())
    except OSError as error:
        raise UserError(f"--summary {path}: cannot be written ({error.strerror}).") from None


def tell_damaged(requests: int) -> None:
    """Say that requests in the log could not be read, if so.

    Raises:
        Incomplete: some could not.
    """
    if requests:
        raise Incomplete(f"Requests in the log that are not whole were left out: {requests:,}.")
