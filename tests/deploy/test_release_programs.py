"""The small programs of workflows: what to train, which variables, where to log in, what is reached."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.workflows import choice, reached, variables
from millrace.succession import Contract
from pipelines.promotion_summary import PromotionSummary
from tests.conftest import ROOT, Home


def git(*words: str, folder: Path) -> str:
    """Run git in a folder, as somebody."""
    somebody = ("-c", "user.name=a", "-c", "user.email=a@localhost")
    done = subprocess.run(["git", *somebody, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with three problems, one of them of data under DVC, as the working directory."""
    problems = tmp_path / "configs" / "problems"
    problems.mkdir(parents=True)
    (problems / "iris.yaml").write_text("source: sklearn://iris\n")
    (problems / "flats.yaml").write_text("source: dvc://.?path=data/flats.csv&rev=main\n")
    (problems / "plots.yaml").write_text("source: data/plots.csv\n")
    git("init", "--quiet", folder=tmp_path)
    commit(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commit(repository: Path, *paths: str) -> str:
    """Change files and commit them; returns the commit before."""
    for path in paths:
        (repository / path).parent.mkdir(parents=True, exist_ok=True)
        with (repository / path).open("a") as file:
            file.write("# changed\n")
    before = git("rev-parse", "HEAD", folder=repository) if paths else choice.NOTHING
    git("add", "--all", folder=repository)
    git("commit", "--quiet", "--message=x", folder=repository)
    return before


def chosen(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """What the program chooses."""
    assert choice.main(list(words)) == 0
    name, _, value = capsys.readouterr().out.strip().partition("=")
    assert name == "problems"
    return json.loads(value)


@pytest.mark.parametrize(
    ("paths", "problems"),
    [
        (["configs/problems/iris.yaml"], ["iris"]),
        (["configs/problems/iris.yaml", "configs/problems/plots.yaml"], ["iris", "plots"]),
        (["data/flats.csv.dvc"], ["flats"]),
        (["data/flats with spaces\n.csv.dvc"], []),
        (["data/plots.csv", "README.md", "configs/problems/notes.md"], []),
    ],
)
def test_problems_are_chosen_by_what_has_changed(
    paths: list[str], problems: list[str], repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = commit(repository, *paths)
    assert chosen(capsys, "--since", before) == problems


def test_a_deleted_problem_is_not_trained(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = git("rev-parse", "HEAD", folder=repository)
    (repository / "configs" / "problems" / "iris.yaml").unlink()
    git("commit", "--quiet", "--all", "--message=x", folder=repository)
    assert chosen(capsys, "--since", before) == []


@pytest.mark.usefixtures("repository")
def test_of_a_new_branch_all_is_new(capsys: pytest.CaptureFixture[str]) -> None:
    assert chosen(capsys, "--since", choice.NOTHING) == ["flats", "iris", "plots"]


@pytest.mark.usefixtures("repository")
def test_named_problems_are_those_that_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert chosen(capsys, "--named", "plots iris  iris", "--since", "") == ["iris", "plots"]
    for words in (["--named", "iris; rm"], ["--named", "../iris"], ["--named", ""], []):
        assert choice.main(words) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")


@given(
    st.dictionaries(st.sampled_from(["MILLRACE_A", "MILLRACE_B", "OTHER", "MILLRACE_a", "PATH"]), st.text())
)
def test_only_variables_of_ours_are_set_each_to_its_value(given: dict[str, str]) -> None:
    ours = {name: value for name, value in given.items() if name in ("MILLRACE_A", "MILLRACE_B")}
    if any(len(value.splitlines()) > 1 for value in ours.values()):
        with pytest.raises(ValueError, match="more than one line"):
            variables.lines(given)
    else:
        assert variables.lines(given) == [f"{name}={value.strip()}" for name, value in sorted(ours.items())]


def test_variables_are_printed_in_lines() -> None:
    program = [sys.executable, "-m", "deploy.workflows.variables"]
    for told, code in (('{"MILLRACE_A": "1", "X": "2"}', 0), ('{"MILLRACE_A": "1\\nX=2"}', 2)):
        done = subprocess.run(
            program, cwd=ROOT, env={**os.environ, "VARIABLES": told}, capture_output=True, text=True
        )
        assert done.returncode == code
        assert done.stdout == ("MILLRACE_A=1\n" if code == 0 else "")


@pytest.mark.parametrize(
    ("kind", "registry", "given", "words", "token"),
    [
        (
            "docker-hub",
            "house",
            {"REGISTRY_USER": "us"},
            "login --username us --password-stdin docker.io",
            "t",
        ),
        ("ghcr", "ghcr.io/our", {"REGISTRY_USER": "us"}, "login --username us --password-stdin ghcr.io", "t"),
        ("ecr", "1.ecr.aws/our", {}, "login --username AWS --password-stdin 1.ecr.aws", "of-aws"),
        (
            *("artifact-registry", "eu.pkg.dev/our/images", {}),
            *("login --username oauth2accesstoken --password-stdin eu.pkg.dev", "t"),
        ),
        ("ecr2", "x", {}, None, ""),
        ("ghcr", "ghcr.io/our", {}, None, ""),
        ("ghcr", "ghcr.io/our", {"REGISTRY_USER": "us", "REGISTRY_TOKEN": ""}, None, ""),
        ("ghcr", "", {"REGISTRY_USER": "us"}, None, ""),
    ],
)
def test_logging_in_to_a_registry(
    kind: str, registry: str, given: dict[str, str], words: str | None, token: str, tmp_path: Path
) -> None:
    """With programs that note what they are told; no registry is asked."""
    recorded = tmp_path / "recorded"
    (tmp_path / "docker").write_text(f'#!/bin/sh\necho "$*" >{recorded}\ncat >>{recorded}\n')
    (tmp_path / "aws").write_text('#!/bin/sh\n[ "$*" = "ecr get-login-password" ] && printf of-aws\n')
    for name in ("docker", "aws"):
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "REGISTRY_TOKEN": "t", **given}
    environment |= {"REGISTRY_KIND": kind, "REGISTRY": registry}
    done = subprocess.run(
        ["make", "--silent", "registry-login"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    if words is None:
        assert done.returncode != 0
        assert not recorded.exists()
        return
    assert done.returncode == 0, done.stderr
    assert recorded.read_text() == f"{words}\n{token}"


@contextmanager
def service(answers: dict[str, tuple[int, bytes]]) -> Iterator[str]:
    """A server that gives these answers, by path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answers[self.path]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("ready", "model", "said"),
    [
        ((200, b""), (200, b'{"digest": "abc"}'), ""),
        ((200, b""), (200, b'{"digest": "old"}'), "serves the bundle old, not abc"),
        ((503, b""), (200, b'{"digest": "abc"}'), "does not answer"),
        ((200, b""), (401, b"{}"), "does not answer"),
        ((200, b""), (200, b"<html>"), "does not answer"),
        ((200, b""), (200, b"[]"), "does not answer"),
    ],
)
def test_a_service_is_reached_if_it_serves_what_was_deployed(
    ready: tuple[int, bytes],
    model: tuple[int, bytes],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(reached, "PAUSE", 0.0)
    with service({"/readyz": ready, "/v1/model": model}) as url:
        told = {"url": url, "digest": "abc", "version": "3", "problem": "iris"}
        (tmp_path / "deployment.json").write_text(json.dumps(told))
        assert reached.main(str(tmp_path / "deployment.json")) == (2 if said else 0)
    assert said in capsys.readouterr().err


def test_nobody_there_is_not_reached() -> None:
    with service({}) as url:
        pass
    assert "does not answer" in reached.why_not(url, "abc")


def promoted(folder: Path, before: str | None, version: str) -> str:
    """The file of a promotion's summary, on the stack `local`."""
    contract: Contract = "same"
    summary = PromotionSummary(
        problem="iris",
        run_id="1",
        run_name="x",
        source="staging",
        source_version="9",
        target="local",
        version=version,
        digest="0" * 64,
        added=True,
        champion_before=before,
        contract=contract,
        seconds=1.0,
    )
    (folder / "promotion.json").write_text(summary.model_dump_json())
    return str(folder / "promotion.json")


def undo(home: Home, path: str) -> tuple[int, str, str]:
    """The exit code of the program, and what it says."""
    process = home.python("-m", "pipelines.undo", path)
    out, err = process.communicate(timeout=240)
    assert process.returncode is not None
    return process.returncode, out, err


def test_a_promotion_that_changed_nothing_is_not_undone(home: Home, tmp_path: Path) -> None:
    code, out, _ = undo(home, promoted(tmp_path, "1", "1"))
    assert (code, out) == (0, "Version 1 on local was champion before: it stays.\n")
    code, out, _ = undo(home, promoted(tmp_path, None, "1"))
    assert (code, out) == (0, "Version 1 on local has no champion before it: it stays.\n")
    assert home.state()["champion"] == "1"


def test_a_promotion_is_undone_by_the_roll_back(home: Home, tmp_path: Path) -> None:
    """Of which it is told that there is nothing to go back to: the home has had one champion."""
    code, _, err = undo(home, promoted(tmp_path, "1", "2"))
    assert code == 2
    assert "knows of no champion of 'iris' before the present one" in err
