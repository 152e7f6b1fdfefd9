"""What a run says at the end."""

import json
from pathlib import Path

import pandas as pd
import pytest
from sklearn.datasets import load_iris

import run
from tests.conftest import Home


@pytest.fixture
def with_bad_rows(tmp_path: Path) -> Path:
    """Iris with one cell that is no number and one that is out of range."""
    data = load_iris(as_frame=True)
    frame = data.frame.assign(target=data.target_names[data.target]).astype({"petal width (cm)": object})
    frame.loc[3, "petal width (cm)"] = "wide"
    frame.loc[7, "petal length (cm)"] = 1000.0
    frame.to_csv(tmp_path / "iris.csv", index=False)
    return tmp_path / "iris.csv"


def test_the_quarantine_is_a_file_that_the_summary_names(
    home: Home, with_bad_rows: Path, tmp_path: Path
) -> None:
    done = home.train("--data", str(with_bad_rows), "--summary", str(tmp_path / "out.json"))
    summary = json.loads((tmp_path / "out.json").read_text())
    assert summary["rows"] == {"read": 150, "used": 147, "quarantined": 2, "duplicates": 1}
    quarantine = pd.read_parquet(summary["quarantine"])
    assert quarantine["_reason"].tolist() == [
        "petal width (cm): 'wide' is not a number",
        "petal length (cm): above 20",
    ]
    assert summary["quarantine"] in "".join(line.strip() for line in done.stdout.splitlines())


def test_without_bad_rows_no_quarantine_is_named(home: Home, tmp_path: Path) -> None:
    done = home.train("--summary", str(tmp_path / "out.json"))
    assert json.loads((tmp_path / "out.json").read_text())["quarantine"] is None
    assert "quarantine " not in done.stdout


@pytest.mark.usefixtures("opened")
def test_rows_of_another_source_are_not_called_synthetic(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[bool] = []
    monkeypatch.setattr("pipelines.training.run", lambda problem, **_: called.append(problem.synthetic))
    for options in ([], ["--data", "own.csv"]):
        assert run.main(["--pipeline", "training", *options]) == 0
    assert called == [True, False]
