"""The monitoring command: a verdict on what the champion has answered, as pages, gauges, history and JSON."""

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import run
from millrace.prediction_log import LogSettings, Outcome, Outcomes
from millrace.prediction_log.stores import open_store
from tests.conftest import Home

# The holdout of iris has 30 rows.
SMALL = ("--set=min_rows=20", "--set=bootstrap=300", "--set=resamples=100")


def iris() -> pd.DataFrame:
    from sklearn.datasets import load_iris

    return load_iris(as_frame=True).frame


def predict(tmp_path: Path, table: pd.DataFrame) -> None:
    """What the champion says of a table is logged, as by a batch job."""
    path = tmp_path / "table.csv"
    table.drop(columns="target").to_csv(path, index=False)
    arguments = ["--input", str(path), "--output", str(tmp_path / "out"), "--overwrite"]
    assert run.main(["--pipeline", "inference", "--problem", "iris", *arguments]) == 0


def watch(tmp_path: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    path = tmp_path / "summary.json"
    path.unlink(missing_ok=True)
    command = ["--pipeline", "monitoring", "--problem", "iris", *SMALL, "--summary", str(path), *arguments]
    assert run.main(command) == code
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def log_of(home: Home) -> Path:
    return home.path / "bentoml" / "prediction_log" / "iris.db"


def learn(home: Home, table: pd.DataFrame) -> None:
    """The outcomes of all rows that are logged, and of one that nobody knows."""
    from millrace.contract import load_problem

    with sqlite3.connect(log_of(home)) as database:
        [(request, rows)] = database.execute("SELECT request, rows FROM requests").fetchall()
    names = ("setosa", "versicolor", "virginica")
    known = [Outcome(names[table["target"].iloc[row]], request, row) for row in range(rows)]
    problem = load_problem("iris", run.CONFIGS / "problems")
    store = open_store(LogSettings(uri=f"sqlite:///{log_of(home)}"), problem)
    store.write_outcomes([Outcomes(time.time(), [*known, Outcome("setosa", "nobody")])])
    store.close()


def test_what_the_champion_answers_is_judged_shown_and_published(
    opened: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from zenml.client import Client

    table = iris()
    predict(tmp_path, table)
    learn(opened, table)
    said = watch(tmp_path, "--since", "1h")
    verdict = said["verdict"]
    assert (verdict["drift"]["status"], verdict["drift"]["rows"]) == ("no drift", 150)
    assert (verdict["performance"]["status"], verdict["performance"]["labelled_rows"]) == ("no decay", 150)
    assert verdict["performance"]["metrics"]["accuracy"]["value"] > 0.8
    assert verdict["performance"]["holdout"]["accuracy"]["value"] > 0.8
    assert verdict["counted"]["unknown"] == 1
    assert said["notes"] == ["Outcomes of requests or keys that the log does not have: 1."]
    shown = capsys.readouterr().out
    for expected in (
        "no drift. No column differs",
        "measured accuracy",
        "estimated log_loss",
        "the log does not have: 1.",
    ):
        assert expected in shown

    steps = Client().get_pipeline_run(said["run_id"]).steps
    assert steps["watch"].outputs["verdict"][0].run_metadata["drift"] == "no drift"
    pages = {"publish": ["verdict_page"], "report": ["drift_report", "quality_report", "performance_report"]}
    for step, names in pages.items():
        for name in names:
            artifact = steps[step].outputs[name][0]
            assert [each.type.value for each in artifact.visualizations] == ["html"]
            assert "<html" in artifact.load()
    assert len(steps["watch"].outputs["window_sample"][0].load()) == 150
    assert [each.type.value for each in steps["publish"].outputs["monitoring_plots"][0].visualizations] == [
        "image"
    ]
    told = Path(said["gauges"]).read_text()
    assert 'millrace_drift_status{problem="iris",status="no drift",version="1"} 1.0' in told

    # Flowers that are all of one kind, without reports; and half of a request.
    log_of(opened).unlink()
    predict(tmp_path, pd.concat([table[table["target"] == 2]] * 2))
    with sqlite3.connect(log_of(opened)) as database:
        database.execute(
            "INSERT INTO requests SELECT NULL, time, 'torn', first, rows, keys, variant, model, seconds,"
            " substr(body, 1, 99), answers FROM requests"
        )
    drifted = watch(tmp_path, "--set=report_rows=0", code=3)
    assert drifted["verdict"]["drift"]["status"] == "drift"
    assert "prediction" in drifted["verdict"]["drift"]["why"]
    assert drifted["verdict"]["counted"]["damaged"] == 1
    assert "Requests in the log that are not whole were left out: 1." in capsys.readouterr().err
    told = Path(said["gauges"]).read_text()
    assert 'millrace_drift_status{problem="iris",status="drift",version="1"} 1.0' in told
    kept = [json.loads(line) for line in Path(said["history"]).read_text().splitlines()]
    assert [(each["run"], each["drift"]) for each in kept] == [
        (said["run_name"], "no drift"),
        (drifted["run_name"], "drift"),
    ]


def test_what_cannot_be_watched_is_one_sentence(
    opened: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = [
        (["--problem", "iris"], "there is no prediction log"),
        (["--problem", "iris", "--since", "soon"], "--since soon: write a period"),
        (["--problem", "iris", "--data", "x.csv"], "it reads the prediction log"),
        (["--problem", "iris", "--set", "false_alarm=0.1"], "Did you mean 'false_alarms'"),
        (["--problem", "iris", "--set", "false_alarms=0.0001"], "'bootstrap' must be at least"),
        (["--problem", "housing_sample"], "There is no model of 'housing_sample' on this stack"),
    ]
    for arguments, expected in refused:
        assert run.main(["--pipeline", "monitoring", *arguments]) == 2
        captured = capsys.readouterr().err
        assert expected in captured
        assert "Traceback" not in captured
    assert run.main(["--pipeline", "training", "--since", "1d"]) == 2
    assert "--since is for --pipeline monitoring" in capsys.readouterr().err
    predict(tmp_path, iris())
    few = watch(tmp_path, "--set=min_rows=100", "--set=report_rows=0")
    assert few["verdict"]["drift"]["why"] == "The bundle's reference has 30 rows; a verdict takes 100."
    shown = capsys.readouterr().out
    assert "not enough data. The bundle's reference has 30 rows" in shown
    assert "no drift" not in shown
    log_of(opened).write_bytes(log_of(opened).read_bytes()[:5000])
    assert run.main(["--pipeline", "monitoring", "--problem", "iris"]) == 2
    assert "the prediction log cannot be read" in capsys.readouterr().err
