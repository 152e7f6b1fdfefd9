"""Every command of the pages: run as a reader would, page by page; or listed, with a reason, and checked."""

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from millrace.contract import parse_problem
from tests.docs.checks import faults
from tests.docs.elsewhere import ELSEWHERE
from tests.docs.pages import Command, blocks, existing, mentioned_commands, pages, shown_commands, words
from tests.docs.reader import Reader, is_shown


def reasons(command: Command) -> list[str]:
    """Why a command is not run here: nothing, if it is."""
    text = re.sub(r"\s+#.*", "", command.text)
    return [pattern for pattern in ELSEWHERE if fnmatchcase(text, pattern)]


def is_repeated(command: Command) -> bool:
    """Whether an earlier page has done the same, and nothing that follows here needs it done again."""
    place = SHOWN.index(command)
    typed = words(command.text)
    is_last = all(other.page != command.page for other in SHOWN[place + 1 :])
    if command.shown or not (is_last or typed in SETUP):
        return False
    return any(words(earlier.text) == typed for earlier in SHOWN[:place])


SETUP = (["make", "train"], ["make", "deploy"])
SHOWN = shown_commands()
RUN = [command for command in SHOWN if not reasons(command) and not is_repeated(command)]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    reader = Reader(tmp_path_factory.mktemp("reader") / "clone")
    yield reader
    reader.stop()


@pytest.mark.parametrize("command", RUN, ids=str)
def test_a_command_does_what_the_page_shows(command: Command, reader: Reader) -> None:
    printed = reader.type(command)
    for line in command.shown:
        assert is_shown(line, printed), f"{command} shows {line!r}, and this was printed:\n{printed}"


@pytest.mark.parametrize("command", [*SHOWN, *mentioned_commands()], ids=str)
def test_a_command_could_be_run(command: Command) -> None:
    assert faults(command.text) == []


def test_what_is_not_run_is_on_the_list_for_a_reason_that_holds() -> None:
    used = {pattern for command in SHOWN for pattern in reasons(command)}
    assert used == set(ELSEWHERE), "patterns without a command"
    for reason in ELSEWHERE.values():
        for path in re.findall(r"\btests/\S+?\.py", reason):
            assert existing(path), f"{path}: no such test"


@pytest.mark.parametrize("page", pages())
def test_other_blocks_are_in_their_language(page: str) -> None:
    for language, line, text in blocks(page):
        if language == "python":
            ast.parse(text)
        elif language == "yaml":
            content = yaml.safe_load(text)
            if "name" in content and "features" in content:
                assert parse_problem(content).name == content["name"]
        else:
            assert language in ("", "console", "sql"), f"{page}:{line}: {language}"


@pytest.mark.parametrize(
    "wrong",
    [
        "make trian",
        "make serve PROBLME=iris",
        "python run.py --pipeline trainign",
        "python run.py --pipeline training --probelm iris",
        "python run.py --pipeline training --since 24h",
        "python run.py --pipeline simulation --speed fast",
        "python -m schedule start",
        "git init && dcv init",
        "sudo bash tests/emtpy_machine.sh",
    ],
)
def test_a_wrong_command_is_found(wrong: str) -> None:
    assert faults(wrong)


@pytest.mark.parametrize(
    ("line", "output", "shown"),
    [
        ("error: no such file", "error: no such file\n", True),
        ("error: no such file", "error: no such folder\n", False),
        ("holdout rmse  0.20  (95% ...", "holdout rmse   0.2011  (95% interval 0.18 to 0.21)", True),
        ("holdout rmse  0.20", "holdout rmse   0.2511", False),
        ("rmse is 274.5, of", "rmse is 278, of", True),
        ("rows  3020 read = 2990 used", "rows  3020 read = 2991 used", False),
        ("a line that the terminal folds", "a line that\n   the terminal folds", True),
    ],
)
def test_what_a_page_shows_is_compared_with_what_is_printed(line: str, output: str, shown: bool) -> None:
    assert is_shown(line, output) is shown


@given(st.floats(1, 1e6), st.floats(-0.2, 0.2))
def test_numbers_may_be_off_by_a_twentieth(number: float, off: float) -> None:
    shown = is_shown(f"rmse {number:.6f}", f"rmse {number * (1 + off):.6f}")
    if abs(abs(off) - 0.05) > 1e-3:
        assert shown is (abs(off) < 0.05)
