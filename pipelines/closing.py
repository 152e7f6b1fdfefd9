"""What the tables at the end of every command have in common."""

from typing import TYPE_CHECKING

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
