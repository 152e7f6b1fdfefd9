"""The files of a draft: the page, a suite a column and, last and whole or not at all, the problem."""

import hashlib
import json
import re
import unicodedata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from millrace.errors import UserError

# What some file system does not take in a name, and what would be another folder.
UNSAFE = re.compile(r'[\x00-\x1f<>:"/\\|?*%]')
LONGEST_FILE_NAME = 200


def problem_name(source: str) -> str:
    """A problem's name from the last part of a path or URI: `data/My flats.csv.gz` -> `my_flats`."""
    path = urlsplit(source).path if "://" in source else source
    last = [part for part in re.split(r"[/\\]", f"{urlsplit(source).netloc}/{path}") if part][-1:]
    stem = last[0].lstrip(".").partition(".")[0] if last else ""
    plain = unicodedata.normalize("NFKD", stem.replace("ß", "ss")).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_")
    return name if name[:1].isalpha() else f"table_{name}".rstrip("_")


def check_name(name: str, folder: Path) -> Path:
    """The file that a problem of this name goes to.

    Raises:
        UserError: the name is none for a problem, or the file is there already.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(
            f"--problem {name}: a problem's name has lower-case letters, digits and underscores, and starts "
            f"with a letter; for example --problem {problem_name(name)}."
        )
    path = folder / f"{name}.yaml"
    if path.exists():
        raise UserError(f"{path} is there already: pass another name with --problem, or delete the file.")
    return path


def write_files(
    problem_file: str, path: Path, page: str, suites: dict[str, dict[str, Any]], folder: Path
) -> None:
    """Write the page and the suites into `folder`, then the problem to `path`.

    Raises:
        UserError: a file cannot be written, or the problem's file has come into being meanwhile.
    """
    check_name(path.stem, path.parent)
    scratch = path.with_name(f".{path.name}.part")
    try:
        expectations = folder / "expectations"
        expectations.mkdir(parents=True, exist_ok=True)
        for old in expectations.glob("*.json"):
            old.unlink()
        for column, suite in suites.items():
            text = json.dumps(suite, indent=2, ensure_ascii=False)
            (expectations / file_name(column)).write_text(text + "\n", encoding="utf-8")
        (folder / "profile.html").write_text(page, encoding="utf-8")
        scratch.write_text(problem_file, encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise UserError(f"{error.filename}: cannot be written ({error.strerror}).") from None


def file_name(column: str) -> str:
    """A name for a column's file that every file system takes: `a/b` -> `a%2Fb.json`."""
    safe = UNSAFE.sub(lambda match: f"%{ord(match[0]):02X}", column)
    if len(safe.encode()) > LONGEST_FILE_NAME:
        safe = safe[:40] + "-" + hashlib.sha256(column.encode()).hexdigest()[:16]
    return f"{safe}.json"
