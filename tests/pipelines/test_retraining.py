"""The retraining command: one run a cause, on fresh rows, judged on recent ones; or nothing at all."""

import json
import sqlite3
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import run
from millrace.contract import load_problem
from millrace.prediction_log import LogSettings, Outcome, Outcomes
from millrace.prediction_log.stores import open_store
from tests.conftest import FEWEST, Home

KINDS = ("setosa", "versicolor", "virginica")
# The trained home's own candidates, or with what is recent alone a model in a second.
SAME = tuple(each.replace("--set=", "--set=training.", 1) for each in FEWEST)
WINDOW = ("--set=rows=window", "--set=min_rows=300", *SAME)
COMMAND = ("--pipeline", "retraining", "--problem", "iris")
DECAY = ("--trigger", "decay", "--reason", "decay of version 1", "--cause", "f00d@2026-03-02T00:00:00Z")


def renamed(rows: int = 400) -> pd.DataFrame:
    """Flowers like those that the champion has seen, of kinds with each other's names."""
    from sklearn.datasets import load_iris

    rng = np.random.default_rng(3)
    table = load_iris(as_frame=True).frame.sample(rows, replace=True, random_state=3, ignore_index=True)
    table.iloc[:, :4] += rng.normal(0, 0.05, (rows, 4)).round(6)
    table.iloc[:, :4] = table.iloc[:, :4].abs()
    return table.assign(target=[KINDS[(kind + 1) % 3] for kind in table["target"]])


def answered(home: Home, folder: Path, table: pd.DataFrame) -> None:
    """The champion has answered these rows, and what is true of them has become known."""
    path = folder / "asked.csv"
    table.drop(columns="target").to_csv(path, index=False)
    asked = (
        "--pipeline",
        "inference",
        "--problem",
        "iris",
        "--input",
        str(path),
        "--output",
        str(folder / "out"),
    )
    process = home.python("run.py", *asked)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    database = home.path / "bentoml" / "prediction_log" / "iris.db"
    with sqlite3.connect(database) as log:
        [(request, rows)] = log.execute("SELECT request, rows FROM requests").fetchall()
    assert rows == len(table)
    store = open_store(
        LogSettings(uri=f"sqlite:///{database}"), load_problem("iris", run.CONFIGS / "problems")
    )
    known = [Outcome(kind, request, row) for row, kind in enumerate(table["target"])]
    store.write_outcomes([Outcomes(time.time(), known)])
    store.close()


def command(home: Home, *arguments: str) -> "subprocess.CompletedProcess[str]":
    process = home.python("run.py", *COMMAND, *arguments)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(arguments, process.returncode or 0, out, err)


def retrain(home: Home, folder: Path, *arguments: str) -> dict[str, Any]:
    path = folder / f"summary-{time.monotonic_ns()}.json"
    done = command(home, "--summary", str(path), *arguments)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(path.read_text())
    return found


# What the lineage of a version says of why it was made.
LINEAGE = """
import json
from zenml.client import Client
from millrace.registry import Registry
from stacks.environment import home
registry = Registry("iris", f"sqlite:///{home()}/store/mlflow.db")
runs = Client().list_pipeline_runs(size=9, hydrate=True).items
[run] = [run for run in runs if run.pipeline.name == "retraining"]
folder = registry.fetch_bundle("2", home())
print(json.dumps({
    "tag": registry.client.get_model_version("iris", "2").tags["trigger"],
    "metadata": run.steps["gather"].outputs["bronze"][0].run_metadata["trigger"]["reason"],
    "rows": run.steps["gather"].outputs["bronze"][0].run_metadata["rows_read"],
    "provenance": json.loads((folder / "provenance.json").read_text())["trigger"]["kind"],
    "runs": sorted(each.name for each in runs),
}))
"""


def test_a_cause_makes_one_new_champion_and_its_lineage_says_why(home: Home, tmp_path: Path) -> None:
    answered(home, tmp_path, renamed())
    first = retrain(home, tmp_path, *DECAY, *WINDOW)
    assert (first["outcome"], first["trigger"]["kind"]) == ("promoted", "decay")
    assert first["training"]["champion_version"] == "2"
    # Of what is recent alone, a fifth judges both.
    assert "of the champion, version 1 on the same 78 holdout rows" in first["why"]
    lineage = home.ask(LINEAGE)
    assert lineage["tag"] == "decay: decay of version 1"
    assert lineage["metadata"] == "decay of version 1"
    assert (lineage["rows"], lineage["provenance"]) == (400, "decay")
    assert [name.partition("-")[0] for name in lineage["runs"]] == [
        "inference_iris",
        "iris",
        "retraining_iris",
    ]

    # Told again, by another one, and by a calendar; a person may, and the same model is no second version.
    again = retrain(home, tmp_path, *DECAY, *WINDOW)
    assert (again["outcome"], again["training"]) == ("skipped", None)
    assert "has been dealt with, by retraining_iris-" in again["why"]
    soon = retrain(home, tmp_path, "--trigger", "drift", "--reason", "MedInc", "--cause", "beef@1", *WINDOW)
    assert soon["why"].startswith("Cooling down until ")
    weekly = retrain(home, tmp_path, "--trigger", "calendar", "--reason", "weekly")
    assert weekly["outcome"] == "skipped"
    kept = retrain(home, tmp_path, "--reason", "I want to see it", *WINDOW)
    assert (kept["outcome"], kept["why"]) == ("kept", "it is the champion already")
    state = home.state()
    assert (list(state["versions"]), state["champion"]) == (["1", "2"], "2")


def test_two_triggers_at_once_make_one_run(home: Home, tmp_path: Path) -> None:
    answered(home, tmp_path, renamed())
    with ThreadPoolExecutor(3) as pool:
        causes = [("--reason", "drift", "--trigger", "drift", "--cause", f"{i}@1", *WINDOW) for i in range(3)]
        found = list(pool.map(lambda arguments: retrain(home, tmp_path, *arguments), causes))
    assert sorted(each["outcome"] for each in found) == ["promoted", "skipped", "skipped"]
    for each in found:
        if each["outcome"] == "skipped":
            assert "is at work already" in each["why"] or "Cooling down" in each["why"]
    state = home.state()
    assert (list(state["versions"]), state["runs"]) == (["1", "2"], {"completed": 3})


def test_killed_in_the_middle_the_same_cause_goes_on_and_retrains_once(home: Home, tmp_path: Path) -> None:
    answered(home, tmp_path, renamed())
    moments = ("gather", "fit_best", "register", "promote")
    for moment in moments:
        home.python("run.py", *COMMAND, *DECAY, *WINDOW).kill_at(moment)
    # Rows that have come meanwhile are not of this cause: what was finished is found again.
    table = renamed().assign(target="setosa")
    (home.path / "bentoml" / "prediction_log" / "more").mkdir()
    table.drop(columns="target").to_csv(tmp_path / "more.csv", index=False)
    more = ("--pipeline", "inference", "--problem", "iris", "--input", str(tmp_path / "more.csv"))
    process = home.python("run.py", *more, "--output", str(tmp_path / "out2"))
    assert process.communicate(timeout=300)
    assert process.returncode == 0
    path = tmp_path / "summary.json"
    done = command(home, *DECAY, *WINDOW, "--summary", str(path))
    assert done.returncode == 0, done.stderr
    assert "fit_best: unchanged, taken from the cache" in done.stderr
    assert json.loads(path.read_text())["outcome"] == "promoted"
    state = home.state()
    assert (list(state["versions"]), state["champion"]) == (["1", "2"], "2")
    assert state["runs"]["failed"] == len(moments)
    assert state["open_mlflow_runs"] == 0


def sound() -> pd.DataFrame:
    """The flowers that the champion knows."""
    from sklearn.datasets import load_iris

    table = load_iris(as_frame=True).frame
    return table.assign(target=[KINDS[kind] for kind in table["target"]])


def broken(folder: Path) -> Path:
    """A source in which every tenth flower has no petal."""
    table = sound()
    table.loc[::10, "petal width (cm)"] = -5
    table.to_csv(folder / "broken.csv", index=False)
    return folder / "broken.csv"


def test_what_is_wrong_is_said_and_nothing_is_made(
    opened: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = tmp_path / "half.csv"
    broken(tmp_path)
    pd.read_csv(tmp_path / "broken.csv").query("`petal width (cm)` >= 0").head(100).to_csv(half, index=False)
    calendar = ("--trigger", "calendar", "--reason", "weekly", *SAME)
    cases: dict[str, tuple[str, ...]] = {
        "There is no prediction log.": (*DECAY, *WINDOW),
        "rows break the contract of 'iris'": (*calendar, "--data", str(tmp_path / "broken.csv")),
        "The source has 100 rows, and had 150 when the champion was trained": (
            *calendar,
            "--data",
            str(half),
        ),
        "needs to know why: pass --reason TEXT": (),
        "Unknown trigger 'drfit'. Did you mean 'drift'?": ("--trigger", "drfit", "--reason", "x"),
        "--cause: has 201 characters": ("--reason", "x", "--cause", "c" * 201),
        "--set training.folds=0": ("--reason", "x", "--set=training.folds=0"),
        "--set rows=some": ("--reason", "x", "--set=rows=some"),
        "--since is for --pipeline monitoring": ("--reason", "x", "--since", "1h"),
        "is too large for memory (large.mib)": ("--reason", "x", "--set=training.large.mib=0"),
    }
    for sentence, arguments in cases.items():
        assert run.main([*COMMAND, *arguments]) == 2, sentence
        err = capsys.readouterr().err
        assert sentence.lower() in err.lower(), err
        assert "Traceback" not in err
    state = opened.state()
    assert (list(state["versions"]), state["champion"]) == (["1"], "1")
    # What has failed shows, and alarms.
    from stacks import outcomes

    failed = 'millrace_pipeline_failed{pipeline="retraining",problem="iris",stack="local"} 1.0'
    assert failed in outcomes.exposition().decode()

    # Failed ones count in the budget of what asks by itself. The source holds nothing new, and then it does.
    path = tmp_path / "summary.json"
    new = ("--trigger", "data", "--reason", "nightly", "--set=budget.runs=99", "--summary", str(path), *SAME)
    assert run.main([*COMMAND, *new]) == 0
    skipped = json.loads(path.read_text())
    assert (skipped["outcome"], skipped["training"]) == ("skipped", None)
    assert skipped["why"] == "sklearn://iris has the rows that the champion has learnt from."
    more = tmp_path / "more.csv"
    pd.concat([sound(), renamed(10)]).to_csv(more, index=False)
    assert run.main([*COMMAND, *new, "--data", str(more)]) == 0
    done = json.loads(path.read_text())
    assert done["outcome"] in ("kept", "promoted")
    # No outcome is known: it was on the source alone.
    assert done["rows"] == "160 rows of the source; 0 of the log are too few to add"


def test_without_a_champion_there_is_nothing_to_retrain(
    opened: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--pipeline", "retraining", "--problem", "breast_cancer", "--reason", "x"]
    assert run.main(arguments) == 2
    assert "train one: python run.py --pipeline training --problem breast_cancer" in capsys.readouterr().err
    assert opened.state()["runs"] == {"completed": 1, "failed": 1}
