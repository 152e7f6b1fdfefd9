"""Commands as pages show them: in `console` blocks, with what they print below, or in a sentence."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

# The tutorial makes what other pages go on with: the table and the models of `flats`.
FIRST = ("README.md", "docs/index.md", "docs/tutorial.md")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
HERE = re.compile(r"<<'?(\w+)'?")
OPTIONAL = re.compile(r"\[(--[^\]]+)\]")
# How commands of this project begin.
STARTS = ("make ", "run.py ", "python run.py", "python -m ", ".venv/bin/python ")


@dataclass(frozen=True)
class Command:
    """A command, where it stands, and the lines that are shown as its output."""

    page: str
    line: int
    text: str
    shown: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """All pages that people read, by their path, in the order in which their commands are run."""
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    names = sorted(str(path.relative_to(ROOT)) for path in found)
    return [*FIRST, *(name for name in names if name not in FIRST)]


def shown_commands() -> list[Command]:
    """The commands of all `console` blocks."""
    return [
        command
        for page in pages()
        for language, line, text in blocks(page)
        if language == "console"
        for command in commands_of(page, line, text)
    ]


def mentioned_commands() -> list[Command]:
    """Commands of this project within sentences and tables; with the options that stand in brackets."""
    return [
        Command(page, text.count("\n", 0, found.start()) + 1, OPTIONAL.sub(r"\1", found[1]))
        for page in pages()
        for text in [_without_blocks((ROOT / page).read_text(encoding="utf-8"))]
        for found in INLINE.finditer(text)
        if found[1].startswith(STARTS)
    ]


def blocks(page: str) -> list[tuple[str, int, str]]:
    """A page's blocks of code: the language, the number of the first line, the text."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [(block[1], text.count("\n", 0, block.start(2)) + 1, block[2]) for block in BLOCK.finditer(text)]


def commands_of(page: str, line: int, block: str) -> list[Command]:
    """The commands of a block that begins at this line of a page.

    A command goes on in the next line where a quotation is open or it ends with a backslash.
    """
    found: list[tuple[int, str, list[str]]] = []
    for number, text in enumerate(block.splitlines(), line):
        if text.startswith("$ "):
            found.append((number, text[2:], []))
            continue
        assert found, f"{page}:{number}: a console block begins with a command, after '$ '"
        first, command, shown = found[-1]
        if _is_open(command):
            found[-1] = (first, f"{command}\n{text}", shown)
        else:
            shown.append(text)
    return [Command(page, number, command, tuple(shown)) for number, command, shown in found]


def words(command: str) -> list[str]:
    """A command's words, without its comment."""
    return shlex.split(command, comments=True)


def _is_open(command: str) -> bool:
    lines = command.splitlines()
    document = HERE.search(command)
    if lines[-1].endswith("\\") or (document and lines[-1] != document[1]):
        return True
    try:
        words(command)
    except ValueError:
        return True
    return False


def _without_blocks(text: str) -> str:
    """The text with its blocks empty, each line where it was."""
    return BLOCK.sub(lambda block: "\n" * block[0].count("\n"), text)


def existing(path: str) -> bool:
    """Whether the repository has it."""
    return (ROOT / Path(path)).exists()
