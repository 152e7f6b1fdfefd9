"""Files under DVC, in a real repository with a real remote."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from millrace.contract import Column
from millrace.errors import UserError
from millrace.sources import Source, read
from tests.millrace.test_sources import refusal

VERSIONS = {"v1.0": "a,b\n1,x\n", "v2.0": "a,b\n1,x\n2,y\n"}


def run(folder: Path, *command: str) -> str:
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip()


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """data/x.csv in two tagged versions; both are on the remote, and the cache is empty."""
    # By its commands, as people use it: in this process DVC's log would keep one test's terminal.
    dvc = [sys.executable, "-m", "dvc"]
    folder = tmp_path_factory.mktemp("repository")
    run(folder, "git", "init", "-q", "-b", "main")
    run(folder, "git", "config", "user.email", "test@example.org")
    run(folder, "git", "config", "user.name", "Test")
    run(folder, *dvc, "init", "-q")
    run(folder, *dvc, "remote", "add", "-q", "-d", "local", str(tmp_path_factory.mktemp("remote")))
    (folder / "data").mkdir()
    (folder / "notes.csv").write_text("a\n1\n")
    for tag, content in VERSIONS.items():
        (folder / "data" / "x.csv").write_text(content)
        run(folder, *dvc, "add", "-q", "data/x.csv")
        run(folder, "git", "add", "-A")
        run(folder, "git", "commit", "-q", "-m", tag)
        run(folder, "git", "tag", tag)
    run(folder, *dvc, "push", "-q", "--all-tags")
    shutil.rmtree(folder / ".dvc" / "cache")
    return folder


@pytest.mark.parametrize("rev", [*VERSIONS, "main", None])
def test_a_revision_is_read_and_recorded(repository: Path, tmp_path: Path, rev: str | None) -> None:
    import hashlib

    raw = read(Source(repo=str(repository), path="data/x.csv", rev=rev), tmp_path)
    content = VERSIONS[rev if rev in VERSIONS else "v2.0"]
    assert raw.table.num_rows == content.count("\n") - 1
    assert raw.revision == {
        "rev": rev or "HEAD",
        "commit": run(repository, "git", "rev-parse", f"{rev or 'HEAD'}^{{commit}}"),
        "md5": hashlib.md5(content.encode(), usedforsecurity=False).hexdigest(),
    }


def test_a_uri_says_the_same_as_a_mapping(repository: Path, tmp_path: Path) -> None:
    uri = f"dvc://{repository}?path=data/x.csv&rev=v1.0"
    source = Source.model_validate(uri)
    assert source == Source(repo=str(repository), path="data/x.csv", rev="v1.0")
    raw = read(uri, tmp_path, {"a": Column(type="integer")})
    assert raw.table.to_pydict() == {"a": ["1"]}
    assert raw.origin == source.origin == uri


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("path=data/x.csv&rev=v1.1", "no such revision 'v1.1'. Did you mean 'v1.0'?"),
        ("path=data/y.csv&rev=v1.0", "no such file. Did you mean 'x.csv'?"),
        ("path=notes.csv&rev=v1.0", "'notes.csv' is in the repository but not under DVC; dvc add it"),
        ("path=data/x.docx&rev=v1.0", "no such file. Did you mean 'x.csv'?"),
        ("rev=v1.0", "write it as dvc://REPOSITORY?path=FILE&rev=REVISION"),
        ("path=a.csv&revision=v1.0", "write it as dvc://REPOSITORY?path=FILE&rev=REVISION"),
    ],
)
def test_what_is_not_in_the_repository_is_refused(
    repository: Path, tmp_path: Path, asked: str, expected: str
) -> None:
    uri = f"dvc://{repository}?{asked}"
    message = refusal(uri, tmp_path)
    assert message.startswith(f"{uri}: {expected}")
    assert len(message.splitlines()) == 1


def test_a_repository_that_is_none_is_refused(tmp_path: Path) -> None:
    assert "is not a git repository" in refusal(f"dvc://{tmp_path}?path=x.csv&rev=v1", tmp_path)
    assert "no such repository" in refusal(f"dvc://{tmp_path}/none?path=x.csv&rev=v1", tmp_path)
    assert "no such repository" in refusal("dvc://http://127.0.0.1:9/x.git?path=x.csv", tmp_path)


def test_data_that_no_remote_has_is_refused(repository: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(repository, copy)
    shutil.rmtree(copy / ".dvc" / "cache", ignore_errors=True)
    (copy / ".dvc" / "config").write_text("")
    run(copy, "git", "commit", "-q", "-a", "-m", "no remote")
    run(copy, "git", "tag", "lost")
    message = refusal(f"dvc://{copy}?path=data/x.csv&rev=lost", tmp_path)
    assert "dvc push" in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    "source",
    [{}, {"repo": "."}, {"path": "x"}, {"uri": "x.csv", "rev": "v1"}, {"uri": "x", "repo": ".", "path": "x"}],
)
def test_a_source_names_one_table(source: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="'repo'"):
        Source.model_validate(source)


def test_a_query_is_not_for_dvc(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not for DVC"):
        read(Source(repo=str(repository), path="data/x.csv", query="x"), tmp_path)
