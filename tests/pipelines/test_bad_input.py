"""What tests/bad_inputs/ cannot say of its one table: classes, configurations, no network."""

import re
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import run
from tests.conftest import QUICK, Home


def iris() -> pd.DataFrame:
    from sklearn.datasets import load_iris

    data = load_iris(as_frame=True)
    frame = data.frame
    frame["target"] = data.target_names[data.target]
    return frame


def empty_column(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(**{"petal width (cm)": np.nan})


def single_class(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["target"] == "setosa"]


def unknown_targets(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(target=frame["target"].where(frame.index % 3 > 0, "tulip"))


TABLES: list[tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = [
    (empty_column, "column 'petal width (cm)' should hold a value at all"),
    (single_class, "column 'target' should hold at least two classes"),
    (unknown_targets, "target: not a known category (50 rows)"),
]


def snapshot(home: Home) -> list[tuple[str, dict[str, str]]]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{home.path}/store/mlflow.db")
    return [
        (model.name, dict(client.get_registered_model(model.name).aliases))
        for model in client.search_registered_models()
    ] + [(version.version, dict(version.tags)) for version in client.search_model_versions()]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run in this process, expect exit code 2 without a traceback, and return the message."""
    code = run.main(["--pipeline", "training", *arguments])
    captured = capsys.readouterr()
    assert code == 2, captured.err
    assert "Traceback" not in captured.err + captured.out
    messages = re.findall(r"^error: (.*)", captured.err, flags=re.MULTILINE | re.DOTALL)
    assert len(messages) == 1
    message: str = messages[0]
    return message


@pytest.mark.parametrize(("spoil", "expected"), TABLES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_spoilt_table_is_refused(
    spoil: Callable[[pd.DataFrame], pd.DataFrame],
    expected: str,
    opened: Home,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = snapshot(opened)
    path = tmp_path / "table.csv"
    spoil(iris()).to_csv(path, index=False)
    assert expected in refused(capsys, "--problem", "iris", "--data", str(path), *QUICK)
    assert snapshot(opened) == before


@pytest.mark.usefixtures("opened")
def test_without_a_network_the_download_says_what_to_pass_instead(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    message = refused(capsys, "--problem", "california_housing")
    assert "cannot be downloaded" in message
    assert "--data PATH_OR_URI" in message


@pytest.mark.usefixtures("opened")
def test_a_network_without_torch_is_refused_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("millrace.models.base.find_spec", lambda _: None)
    message = refused(capsys, "--set", "candidates.network.kind=network")
    assert message.startswith("--set candidates.network.kind=network: ")
    assert "run `make torch`" in message


@pytest.mark.usefixtures("opened")
def test_an_empty_configuration_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.yaml").touch()
    assert "the file is empty" in refused(capsys, "--config", str(tmp_path / "empty.yaml"))


@pytest.mark.usefixtures("opened")
def test_a_faulty_configuration_names_file_and_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "training.yaml"
    path.write_text("enable_cahce: true\nparameters:\n  settings:\n    candidates: {a: {kind: linear}}\n")
    assert f"{path}, line 1: unknown key 'enable_cahce'. Did you mean 'enable_cache'?" in refused(
        capsys, "--config", str(path)
    )


@pytest.mark.usefixtures("opened")
def test_failed_checks_leave_their_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from zenml.client import Client

    path = tmp_path / "table.csv"
    empty_column(iris()).to_csv(path, index=False)
    refused(capsys, "--problem", "iris", "--data", str(path), *QUICK)
    page = Client().get_artifact_version("failed_checks_page").load()
    assert "should" in page.lower()
    assert "petal width (cm)" in page
