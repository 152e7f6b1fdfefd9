"""Comments and issues on GitHub, for which a server on this machine stands in."""

from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from deploy.workflows.github import main
from tests.deploy.github_api import SESAME, GitHub

MARK = "<!-- millrace: training of iris -->"


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[GitHub]:
    """GitHub with an empty repository, and this process as a job of it."""
    with GitHub() as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        monkeypatch.setenv("GITHUB_API_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("GITHUB_REPOSITORY", "our/house")
        monkeypatch.setenv("GITHUB_TOKEN", SESAME)
        yield server
        server.shutdown()


def write(path: Path, text: str, mark: str = MARK) -> str:
    """A file with a mark, a heading and a text."""
    path.write_text(f"{mark}\n### iris: drift\n\n{text}\n")
    return str(path)


def test_the_second_comment_takes_the_place_of_the_first(github: GitHub, tmp_path: Path) -> None:
    assert main("comment", "7", write(tmp_path / "a", "first")) == 0
    assert main("comment", "7", write(tmp_path / "a", "second")) == 0
    assert github.bodies("issues/7/comments") == [(tmp_path / "a").read_text()]
    assert [asked.partition(" ")[0] for asked in github.asked] == ["GET", "POST", "GET", "PATCH"]


def test_each_problem_has_its_own_comment(github: GitHub, tmp_path: Path) -> None:
    other = "<!-- millrace: training of flats -->"
    files = write(tmp_path / "a", "iris"), write(tmp_path / "b", "flats", other)
    for _ in range(2):
        assert main("comment", "7", *files) == 0
    assert len(github.bodies("issues/7/comments")) == 2


def test_a_comment_of_somebody_else_is_left_alone(github: GitHub, tmp_path: Path) -> None:
    for login in ("mallory", None):
        github.add("issues/7/comments", f"{MARK}\nnot ours", login)
    github.add("issues/7/comments", f"quoted:\n{MARK}")
    github.add("issues/7/comments", None)
    before = github.bodies("issues/7/comments")
    assert main("comment", "7", write(tmp_path / "a", "ours")) == 0
    assert github.bodies("issues/7/comments") == [*before, (tmp_path / "a").read_text()]


def test_the_comment_is_found_behind_hundreds(github: GitHub, tmp_path: Path) -> None:
    for number in range(250):
        github.add("issues/7/comments", f"words {number}", "alice")
    # As GitHub gives it back.
    github.add("issues/7/comments", f"{MARK}\r\nold")
    assert main("comment", "7", write(tmp_path / "a", "new")) == 0
    assert len(github.bodies("issues/7/comments")) == 251
    assert github.bodies("issues/7/comments")[-1] == (tmp_path / "a").read_text()


def test_an_open_issue_is_written_anew_and_a_closed_one_is_not(github: GitHub, tmp_path: Path) -> None:
    github.add("issues", f"{MARK}\nlast year", state="closed")
    for text in ("first", "second"):
        assert main("issue", write(tmp_path / "a", text)) == 0
    assert github.bodies("issues") == [f"{MARK}\nlast year", (tmp_path / "a").read_text()]
    assert github.entries["issues"][1]["title"] == "iris: drift"


def test_an_empty_file_is_passed_over(github: GitHub, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert main("issue", str(tmp_path / "empty")) == 0
    assert github.asked == []


def test_a_file_without_mark_is_refused(
    github: GitHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").write_text("### no mark\n\ntext\n")
    assert main("comment", "7", str(tmp_path / "a")) == 2
    assert "does not begin with a mark" in capsys.readouterr().err
    assert github.asked == []


def test_what_github_refuses_is_told(
    github: GitHub,  # noqa: ARG001 - it answers
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "wrong")
    assert main("comment", "7", write(tmp_path / "a", "text")) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: GitHub answers 403: ")
    assert "not accessible" in error
    assert "wrong" not in error
