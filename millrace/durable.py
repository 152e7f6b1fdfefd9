"""Files that a crash leaves whole: written at once, or added to by lines of JSON, one object each."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from millrace.strict import Strict

Model = TypeVar("Model", bound=Strict)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all: others may read it, or write it too, at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        scratch.write_bytes(content)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def add_line(path: Path, model: Strict) -> None:
    """Add a line, which is on the disk then; by one call, so that two processes' lines do not mix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # What a crash has left of a line ends here, and is a line of its own.
    torn = path.exists() and path.stat().st_size and not path.read_bytes().endswith(b"\n")
    line = ("\n" if torn else "") + model.model_dump_json() + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, line.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_lines(path: Path, kind: type[Model], last: int | None = None) -> Iterator[Model]:
    """The objects of a file, or of its last lines, in their order; lines that are none are passed over."""
    if not path.is_file():
        return
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for line in lines if last is None else lines[-last:]:
        with suppress(ValidationError):
            yield kind.model_validate_json(line)
