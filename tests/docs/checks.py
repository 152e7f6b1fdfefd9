"""Whether a command could be run: its program, its target, its options are there."""

import contextlib
import importlib.util
import io
import re
from fnmatch import fnmatchcase

from commands import PIPELINES
from commands.options import OPTIONS, make_parser
from tests.conftest import ROOT
from tests.docs.pages import existing, words

# Programs that a command may start with besides our own; not all of them are on every machine.
PROGRAMS = {
    *("amtool", "aws", "cat", "cd", "cp", "curl", "df", "docker", "dvc", "eval", "export", "find", "git"),
    *("grep", "head", "kubectl", "ls", "promtool", "sed", "sha256sum", "sleep", "source", "sqlite3", "tail"),
    *("terraform", "xargs"),
}
PYTHON = {"python", ".venv/bin/python"}
ASSIGNMENT = re.compile(r"[A-Z_]+=.*")


def faults(command: str) -> list[str]:
    """What is wrong with a command, part by part of it: nothing, if it could be run."""
    parts: list[list[str]] = [[]]
    for word in words(command):
        ended = word.endswith(";")
        if word in ("&&", "|", "&"):
            parts.append([])
        else:
            parts[-1].append(word.removesuffix(";"))
        if ended:
            parts.append([])
    return [fault for part in parts if part for fault in _faults(part)]


def _faults(part: list[str]) -> list[str]:
    while part and (part[0] == "sudo" or ASSIGNMENT.fullmatch(part[0])):
        part = part[1:]
    program, arguments = part[0], part[1:]
    if program == "make":
        return _of_make(arguments)
    if program == "run.py":
        return _of_run(arguments)
    if program == "bash":
        return [] if existing(arguments[0]) else [f"{arguments[0]}: no such file"]
    if program not in PYTHON:
        return [] if program in PROGRAMS else [f"{program}: nobody knows this program"]
    if arguments[:1] == ["run.py"]:
        return _of_run(arguments[1:])
    if arguments[:1] == ["-m"]:
        return [] if importlib.util.find_spec(arguments[1]) else [f"{arguments[1]}: no such module"]
    return [] if arguments[:1] == ["-c"] else [f"{' '.join(part)}: what does Python run here?"]


def _of_make(arguments: list[str]) -> list[str]:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^\.PHONY: (\S+)$", makefile, re.MULTILINE)
    found = []
    for argument in arguments:
        name, is_variable, _ = argument.partition("=")
        if is_variable:
            known = re.search(rf"\b{name}\b", makefile) is not None
        else:
            known = any(fnmatchcase(target, name) for target in targets)
        found += [] if known else [f"make {argument}: the Makefile does not know it"]
    return found


def _of_run(arguments: list[str]) -> list[str]:
    # Where a page talks of a command, three dots are some value.
    arguments = [argument for argument in arguments if argument not in (">", "...")]
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            parsed = make_parser(PIPELINES).parse_args(arguments)
    except SystemExit:
        return [told.getvalue().splitlines()[-1]]
    if not parsed.pipeline:
        return []
    if parsed.pipeline not in PIPELINES:
        return [f"--pipeline {parsed.pipeline}: there is none"]
    return [
        f"--{name.replace('_', '-')} is not for --pipeline {parsed.pipeline}"
        for pipelines, names in OPTIONS.items()
        if parsed.pipeline not in pipelines
        for name in names
        if getattr(parsed, name)
    ]
