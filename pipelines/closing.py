"""What the tables at the end of every command have in common."""

from pathlib import Path
from typing import TYPE_CHECKING

from millrace.errors import UserError
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
    scratch = path.with_name(path.name + ".part")
    try:
        scratch.write_text(summary.model_dump_json(indent=2) + "\n", encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        raise UserError(f"--summary {path}: cannot be written ({error.strerror}).") from None
