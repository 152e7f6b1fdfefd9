"""Tuning in the training command: killed, resumed, and what the registry and the model then say of it."""

import os
import re
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

from tests.conftest import QUICK, Home

TRIALS = 7
SEARCH = (
    f"--set=tuning.trials={TRIALS}",
    "--set=candidates.linear=null",
    "--set=candidates.hist_boosting=null",
    "--set=blend=false",
    "--set=folds=3",
    # Of 119 rows: far from the shipped values, so that something better is found.
    "--set=candidates.lightgbm.min_child_samples=80",
)
# The runs of the one tuned training, and what its bundle holds of the settings.
RUNS = """
import json
from mlflow import MlflowClient
client = MlflowClient(f"sqlite:///{environment.home()}/store/mlflow.db")
parent = client.get_run(client.get_model_version_by_alias("iris", "challenger").run_id
    if "challenger" in client.get_registered_model("iris").aliases
    else client.get_model_version_by_alias("iris", "champion").run_id)
def below(run):
    query = f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    return client.search_runs([run.info.experiment_id], query, order_by=["attributes.start_time"])
candidates = below(parent)
print(json.dumps([{
    "candidate": candidate.info.run_name,
    "params": candidate.data.params,
    "trials": [{"status": trial.info.status, "state": trial.data.tags["state"], "params": trial.data.params,
        "metrics": trial.data.metrics} for trial in below(candidate)],
} for candidate in candidates]))
"""


def finished_trials(home: Home) -> int:
    """How many trials the one study of a home has finished, as its database says."""
    for path in (home.path / "studies").glob("*.db"):
        try:
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
                query = "SELECT count(*) FROM trials WHERE state IN ('COMPLETE', 'PRUNED')"
                return int(database.execute(query).fetchone()[0])
        except sqlite3.OperationalError:
            continue  # Its tables are being made.
    return 0


def kill_after(home: Home, trials: int) -> None:
    """Start the command and kill it with SIGKILL once so many trials are finished."""
    process = home.start(*QUICK, *SEARCH)
    while finished_trials(home) < trials:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()


def provenance(home: Home) -> dict[str, Any]:
    """The provenance of the newest bundle, and the parameters that its model was trained with."""
    import json

    newest = max(home.path.rglob("provenance.json"), key=lambda path: path.stat().st_mtime)
    found: dict[str, Any] = json.loads(newest.read_text())
    found["trained_with"] = dict(
        re.findall(r"^\[(\w+): (.*)\]$", (newest.parent / "model.txt").read_text(), re.M)
    )
    return found


def test_killed_and_resumed_the_best_trial_is_what_the_model_is_fitted_with(home: Home) -> None:
    kill_after(home, 3)
    before = finished_trials(home)
    assert 3 <= before < TRIALS
    done = home.train(*SEARCH)
    assert done.returncode == 0, done.stderr
    assert f"{TRIALS} trials, " in done.stderr
    assert f", {before} made by an earlier run: log_loss" in done.stderr
    assert finished_trials(home) == TRIALS

    (candidate,) = home.ask(RUNS)
    trials = candidate["trials"]
    counted = [trial for trial in trials if trial["state"] in ("complete", "pruned")]
    assert len(counted) == TRIALS
    assert len(trials) - len(counted) == sum(trial["status"] == "KILLED" for trial in trials) <= 1
    assert all({"fold_log_loss", "seconds"} <= trial["metrics"].keys() for trial in counted)
    complete = [trial for trial in counted if trial["state"] == "complete"]
    assert complete[0]["params"]["min_child_samples"] == "80"
    best = min(complete, key=lambda trial: trial["metrics"]["tuning_log_loss"])
    assert best["metrics"]["tuning_log_loss"] < complete[0]["metrics"]["tuning_log_loss"]

    assert candidate["params"].items() >= best["params"].items()
    told = provenance(home)
    fitted = told["settings"]["candidates"]["lightgbm"]
    assert {name: str(fitted[name]) for name in best["params"]} == best["params"]
    assert told["trained_with"]["min_data_in_leaf"] == best["params"]["min_child_samples"]
    assert told["trained_with"]["num_leaves"] == best["params"]["num_leaves"]

    again = home.train(*SEARCH)
    assert "tune_lightgbm: unchanged, taken from the cache" in again.stderr
    assert "(all of it cached)" in again.stdout


def test_without_a_budget_there_is_no_tuning_step_and_no_optuna(home: Home) -> None:
    arguments = ["--pipeline", "training", "--problem", "iris", *QUICK]
    steps = home.ask(
        "import json, sys, run\n"
        f"assert run.main({arguments!r}) == 0\n"
        "assert 'optuna' not in sys.modules\n"
        "from zenml.client import Client\n"
        "print(json.dumps(sorted(Client().list_pipeline_runs(size=1).items[0].steps)))"
    )
    assert "fit_best" in steps
    assert not [step for step in steps if "tune" in step]
    assert not (Path(home.path) / "studies").exists()
