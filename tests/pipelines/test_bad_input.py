"""What a user can get wrong: one clear sentence, exit code 2, nothing registered or moved."""

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


def without_target(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns="target")


def misspelt(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns={"petal width (cm)": "petal widht (cm)"})


def empty_column(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(**{"petal width (cm)": np.nan})


def single_class(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["target"] == "setosa"]


def few_rows(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.iloc[::30]


def no_rows(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.iloc[:0]


def null_targets(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(target=frame["target"].where(frame.index % 3 > 0))


def unknown_targets(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(target=frame["target"].where(frame.index % 3 > 0, "tulip"))


def text_in_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(**{"petal width (cm)": "wide"})


def infinite(frame: pd.DataFrame) -> pd.DataFrame:
    column = frame["petal width (cm)"].where(frame.index % 3 > 0, np.inf)
    return frame.assign(**{"petal width (cm)": column})


TABLES: list[tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = [
    (without_target, "target 'target' of problem 'iris' is missing"),
    (misspelt, "Did you mean 'petal widht (cm)'"),
    (empty_column, "column 'petal width (cm)' should hold a value at all"),
    (single_class, "column 'target' should hold at least two classes"),
    (few_rows, "the table should have at least 10 rows"),
    (no_rows, "has a header but no rows"),
    (null_targets, "column 'target' should have no missing value: 50 of 150 rows"),
    (unknown_targets, "target: not a known category (50 rows)"),
    (text_in_numbers, "petal width (cm): 'wide' is not a number"),
    (infinite, "petal width (cm): infinite (50 rows)"),
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


FILES: dict[str, tuple[str, bytes | None, str]] = {
    "missing": ("absent.csv", None, "no such file"),
    "empty": ("table.csv", b"", "the file is empty"),
    "binary": ("table.csv", bytes(range(256)) * 40, "is binary"),
    "other columns": ("table.csv", b"a;b;c\n1;2;3\n", "are missing. The table has: a, b, c."),
    "no encoding": (
        "table.csv",
        "\u0438\u043c\u044f,b\n\u0418\u0432\u0430\u043d,2\n".encode("cp1251"),
        "not UTF-8",
    ),
    "no parquet": ("table.parquet", b"not parquet at all", "not a readable Parquet file"),
    "unknown type": ("table.docx", b"PK", "file type is not known"),
    "ragged": ("table.csv", b"a,b,c\n1,2\n", "not a well-formed CSV file"),
}


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_no_table_is_refused(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, content, expected = FILES[case]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert expected in refused(capsys, "--problem", "iris", "--data", str(tmp_path / name))


@pytest.mark.usefixtures("opened")
def test_a_directory_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "folder.csv").mkdir()
    assert "is a directory" in refused(capsys, "--problem", "iris", "--data", str(tmp_path / "folder.csv"))


@pytest.mark.usefixtures("opened")
def test_duplicate_columns_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = iris()
    frame.columns = pd.Index([*frame.columns[:3], "petal length (cm)", "target"])
    frame.to_csv(tmp_path / "table.csv", index=False)
    message = refused(capsys, "--problem", "iris", "--data", str(tmp_path / "table.csv"))
    assert "twice" in message


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


ARGUMENTS: list[tuple[list[str], str]] = [
    (["--pipeline", "trainign"], "Unknown pipeline 'trainign'. Did you mean 'training'?"),
    (["--problem", "irsi"], "Unknown problem 'irsi'. Did you mean 'iris'?"),
    (["--stack", "locl"], "Unknown stack 'locl'. Did you mean 'local'?"),
    (["--config", "absent.yaml"], "absent.yaml: no such run configuration"),
    (["--set", "seeds=3"], "--set seeds=3: unknown key 'seeds'. Did you mean 'seed'?"),
    (["--set", "seed"], "write it as key=value"),
    (["--set", "seed=many"], "--set seed=many: 'seed'"),
    (["--set", "candidates.lightgbm.num_leafs=3"], "Did you mean 'num_leaves'?"),
    (["--set", "candidates.mine.kind=lightbgm"], "Did you mean 'lightgbm'?"),
    (["--set", "folds=1"], "--set folds=1: 'folds': input should be greater than or equal to 2"),
    (["--summary", "absent/folder/out.json"], "--summary absent/folder/out.json: no such folder"),
]


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize(("arguments", "expected"), ARGUMENTS, ids=lambda value: " ".join(value)[:40])
def test_a_wrong_argument_is_refused_with_the_nearest_right_one(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in refused(capsys, *arguments)


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
