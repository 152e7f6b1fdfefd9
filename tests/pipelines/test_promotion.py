"""Who is promoted, by whole runs: a better mean does not make up for a worse slice."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import run
from tests.conftest import ROOT

ROWS = 1500
PROBLEM = {
    "name": "shores",
    "title": "Tides on two shores",
    "task": "regression",
    "source": "shores.csv",
    "target": {"name": "tide", "type": "number", "unit": "m"},
    "features": {
        "moon": {"type": "number", "range": [0, 10]},
        "shore": {"type": "category", "categories": ["north", "south"], "sensitive": True},
    },
}
LINE = "candidates.linear.kind=linear"
# Leaves this large cannot hold the south's few rows alone.
COARSE = (
    "candidates.lightgbm={kind: lightgbm, n_estimators: 60, learning_rate: 0.06, min_child_samples: 250, "
    "colsample_bytree: 1, subsample: 1}"
)


def shores() -> pd.DataFrame:
    """In the north the tide swings with the moon, on the few southern rows it falls along a line."""
    rng = np.random.default_rng(0)
    moon, south = rng.uniform(0, 10, ROWS), rng.random(ROWS) < 0.13
    tide = np.where(south, 0, 2 * np.sin(moon)) - 0.1 * moon + rng.normal(0, 0.2, ROWS)
    return pd.DataFrame({"moon": moon, "shore": np.where(south, "south", "north"), "tide": tide})


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Train on the shores with one candidate, in this process, and return the summary."""
    configs = tmp_path / "configs"
    shutil.copytree(ROOT / "configs", configs)
    shores().to_csv(tmp_path / "shores.csv", index=False)
    problem = PROBLEM | {"source": str(tmp_path / "shores.csv")}
    (configs / "problems" / "shores.yaml").write_text(yaml.safe_dump(problem, sort_keys=False))
    monkeypatch.setattr(run, "CONFIGS", configs)

    def train(candidate: str, *more: str) -> dict[str, Any]:
        names = ("linear", "random_forest", "hist_boosting", "lightgbm")
        given = [f"candidates.{name}=null" for name in names] + [
            candidate,
            "bootstrap=200",
            "explained_rows=50",
            *more,
        ]
        path = tmp_path / "summary.json"
        arguments = ["--pipeline", "training", "--problem", "shores", "--summary", str(path)]
        assert run.main([*arguments, *(f"--set={setting}" for setting in given)]) == 0
        summary: dict[str, Any] = json.loads(path.read_text())
        return summary

    return train


@pytest.mark.usefixtures("opened")
def test_a_worse_slice_refuses_a_better_mean_and_the_reason_is_told(
    train: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    from zenml.client import Client

    first = train(LINE)
    assert first["promoted"]
    capsys.readouterr()

    second = train(COARSE)
    metric, worst, latency, size = second["criteria"]
    assert metric["challenger"] < 0.8 * metric["rival"]
    assert metric["held"]
    assert worst["name"].startswith("rmse of its worst slice, shore south (")
    assert worst["challenger"] > 1.5 * worst["rival"]
    assert not worst["held"]
    assert (latency["limit"], size["limit"]) == ("none", "none")
    assert latency["held"]
    assert size["held"]
    assert (second["promoted"], second["champion_version"]) == (False, "1")
    assert "; but its worst slice, shore south, got worse: rmse" in second["reason"]
    assert "its worst slice, shore south, got worse" in " ".join(capsys.readouterr().out.split())
    page = Client().get_artifact_version("promotion_page").load()
    assert "Not promoted." in page
    assert worst["name"] in page
    evaluation = Client().get_artifact_version("evaluation_page").load()
    assert second["worst_slice"].startswith("Worst: shore south, rmse ")
    assert second["worst_slice"] in evaluation
    assert "By sensitive group" in evaluation

    # Without that rule, and within the others, the same model wins.
    third = train(COARSE, "promotion={size_mb: 50, latency_ms: 60000}")
    assert third["model_version"] == second["model_version"] == "2"
    assert (third["promoted"], third["champion_version"]) == (True, "2")
    assert [line["limit"] for line in third["criteria"]][1:] == ["none", "at most 60000 ms", "at most 50 MB"]
