"""What a machine is told that lacks something: one sentence that says what to do, and nothing is begun."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
NEEDS = "Millrace needs Python 3.11, and found"
NAME_IT = "Name it with: make PYTHON=/path/to/python3.11\n"
OPENMP = "LightGBM needs the OpenMP runtime. Install it first: sudo apt-get install libgomp1"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone's files that its first command reads."""
    folder = tmp_path / "clone"
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    (folder / "deploy").mkdir()
    for name in ("Makefile", "deploy/system-packages.sh"):
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture
def few(tmp_path: Path) -> str:
    """A PATH with a shell, make and what these call, and no Python, installer or server."""
    folder = tmp_path / "few"
    folder.mkdir()
    for name in ("bash", "id", "make"):
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    return str(folder)


def program(path: Path, text: str) -> Path:
    """A program that is a shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def told(clone: Path, path: str, *command: str) -> tuple[int, str]:
    """A command's exit code and what it says of an error, without make's own line about it."""
    done = subprocess.run(command, cwd=clone, env={"PATH": path}, text=True, capture_output=True)
    lines = done.stderr.splitlines(keepends=True)
    return done.returncode, "".join(line for line in lines if not line.startswith("make: ***"))


def test_there_is_no_python(clone: Path, few: str) -> None:
    assert told(clone, few, "make", "train") == (2, f"{NEEDS} none. {NAME_IT}")
    assert not (clone / ".venv").exists()


def test_python_is_another(clone: Path, few: str) -> None:
    program(Path(few, "python3"), '[ "$1" = --version ] && echo Python 3.13.5')
    assert told(clone, few, "make", "train") == (2, f"{NEEDS} Python 3.13.5. {NAME_IT}")
    assert not (clone / ".venv").exists()


def test_python_has_no_venv(clone: Path, few: str, tmp_path: Path) -> None:
    """As Debian has it: what makes environments is a package of its own."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "ensurepip.py").write_text("raise ImportError")
    program(Path(few, "python3.11"), f'PYTHONPATH="{hidden}" exec "{sys.executable}" "$@"')
    said = "This Python has no venv. Install it first: sudo apt-get install python3.11-venv\n"
    assert told(clone, few, "make", "train") == (2, said)
    assert not (clone / ".venv").exists()


def test_openmp_is_missing(clone: Path, few: str) -> None:
    """Said before anything large is fetched."""
    program(clone / ".venv" / "bin" / "python", "exit 1")
    uv = program(clone / ".venv" / "bin" / "uv", 'echo "$@" >called')
    (clone / ".venv" / ".uv").touch()
    code, said = told(clone, few, "make", "train")
    assert code == 2
    assert said.startswith(OPENMP)
    assert said.count("\n") == 1
    assert not (uv.parent.parent.parent / "called").exists()


def test_programs_are_missing(clone: Path, few: str) -> None:
    """All of them in one sentence; none is needed by everything, so what was asked for goes on."""
    program(clone / ".venv" / "bin" / "python", "exit 0")
    code, said = told(clone, few, "bash", "deploy/system-packages.sh", "chromium", "ceph", "wrk")
    assert code == 0
    install = "sudo apt-get install --no-install-recommends chromium libatomic1 ceph-mon ceph-osd radosgw wrk"
    assert said == f"This needs programs that are not here: {install}\n"


def test_an_empty_machine_is_made_by_root_with_mmdebstrap(clone: Path, few: str) -> None:
    said = "An empty machine is made by root, with mmdebstrap: sudo apt-get install mmdebstrap git\n"
    assert told(clone, few, "bash", str(ROOT / "tests" / "empty_machine.sh")) == (2, said)
