"""The experiment's command, from the plan to the promoted challenger, with a service that answers as both."""

import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

import run
from millrace.experiments import Record
from stacks.environment import home
from tests.bentos.running import running, wait_for
from tests.conftest import FEWEST, Home

EXPERIMENT = ("--pipeline", "experiment", "--problem", "iris")
# Where others use the machine, a request may take long.
PLAN = ("--plan", "--challenger", "1", "--set=effect=0.3", "--set=min_rows=40", "--set=slower=50")


@pytest.fixture
def weak(opened: Home) -> Home:
    """A home whose champion is a weak version 2; the good version 1 has been before."""
    arguments = [*FEWEST, "--set=candidates.lightgbm.n_estimators=3"]
    assert run.main(["--pipeline", "training", "--problem", "iris", *arguments]) == 0
    registry().promote("2")
    return opened


def registry() -> Any:
    from millrace.registry import Registry

    return Registry("iris", f"sqlite:///{home()}/store/mlflow.db")


def command(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    path = tmp_path / "summary.json"
    path.unlink(missing_ok=True)
    assert run.main([*EXPERIMENT, "--summary", str(path), *arguments]) == 0
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run.main([*EXPERIMENT, *arguments]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


def ask(client: httpx.Client, requests: int, start: int = 0) -> "Counter[str]":
    """Ask for flowers, one a request, and say what they were; returns who has answered."""
    from sklearn.datasets import load_iris

    flowers: pd.DataFrame = load_iris(as_frame=True).frame
    names = ("setosa", "versicolor", "virginica")
    answered: Counter[str] = Counter()
    before = outcomes_in_log()
    outcomes = []
    for number in range(start, start + requests):
        row = flowers.iloc[number % len(flowers)]
        answer = client.post(
            "/v1/predict",
            json={"rows": [row.drop("target").to_dict()]},
            headers={"X-Request-ID": f"flower-{number}"},
        ).json()
        answered[answer["model"]["version"]] += 1
        outcomes.append({"request": f"flower-{number}", "actual": names[int(row["target"])]})
    # Some come twice.
    for sent in (outcomes, outcomes[:20], [{"request": "nobody's", "actual": "setosa"}]):
        assert client.post("/v1/feedback", json={"outcomes": sent}).status_code == 202
    # What waits in memory is written within half a second.
    wait_for(lambda: outcomes_in_log() >= before + requests + 21)
    return answered


def outcomes_in_log() -> int:
    path = home() / "bentoml" / "prediction_log" / "iris.db"
    if not path.is_file():
        return 0
    with sqlite3.connect(path) as database:
        made = database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'outcomes'").fetchone()[0]
        return int(database.execute("SELECT count(*) FROM outcomes").fetchone()[0]) if made else 0


@pytest.mark.usefixtures("weak")
def test_a_better_challenger_is_planned_served_compared_and_promoted_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from zenml.client import Client

    assert "There is no experiment of 'iris'" in refused(capsys)
    assert "'iris' has no challenger; name one by --challenger: 1." in refused(capsys, "--plan")
    planned = command(tmp_path, *PLAN)
    plan = planned["plan"]
    assert (planned["outcome"], plan["champion"]["version"], plan["challenger"]["version"]) == (
        "planned", "2", "1",
    )  # fmt: skip
    assert f"MILLRACE_SERVE_CHALLENGER={plan['challenger']['tag']}" in capsys.readouterr().out
    assert "There is an experiment of version 1 beside version 2" in refused(capsys, *PLAN)
    assert "there is no prediction log" in refused(capsys)

    settings = {"CHALLENGER": plan["challenger"]["tag"], "CHALLENGER_SHARE": "0.5", "WORKERS": "1"}
    with (
        running(tmp_path, "iris", **settings) as service,
        httpx.Client(base_url=service.url, timeout=30) as client,
    ):
        assert set(ask(client, 30)) == {"1", "2"}
        few = command(tmp_path, "--decide")
        assert (few["outcome"], few["verdict"]["finding"], few["end"]) == ("go on", "not enough data", None)
        assert few["verdict"]["remaining"] > 0
        assert few["verdict"]["counted"]["unknown"] == 1
        answered = ask(client, 300, start=30)
    looked = command(tmp_path)
    verdict = looked["verdict"]
    assert (looked["outcome"], verdict["finding"]) == ("promote", "better"), verdict
    assert verdict["challenger"]["labelled_rows"] >= answered["1"]
    assert verdict["difference"]["high"] < 0
    assert verdict["counted"]["replaced"] == 41
    assert {rail["state"] for rail in verdict["guardrails"]} == {"kept"}
    assert registry().with_alias("champion").version == "2"
    step = Client().get_pipeline_run(looked["run_id"]).steps["look"]
    assert [each.type.value for each in step.outputs["experiment_page"][0].visualizations] == ["html"]
    assert "beyond chance" in step.outputs["experiment_page"][0].load()
    assert step.outputs["verdict"][0].run_metadata["verdict"] == "promote"
    record = Record(Path(looked["record"]))
    assert [look.status for look in record.looks()] == ["go on", "promote"]

    ended = command(tmp_path, "--decide")
    assert (ended["outcome"], ended["end"]["champion"]) == ("promote", "1")
    assert ended["end"]["bento"].startswith(plan["challenger"]["tag"])
    assert registry().champions() == ["1", "2", "1"]
    stages = {v.name: v.stage for v in Client().list_model_versions(model="iris").items}
    assert stages["v1"] == "production"
    assert stages["v2"] != "production"
    # Nothing is promoted twice, whoever is champion by now.
    registry().promote("2")
    again = command(tmp_path, "--decide")
    assert (again["outcome"], again["run_id"]) == ("promote", None)
    assert registry().with_alias("champion").version == "2"

    # Another champion meanwhile: nothing is promoted, and the next one can be planned.
    assert command(tmp_path, *PLAN)["outcome"] == "planned"
    registry().promote("1")
    looked = command(tmp_path)
    assert (looked["outcome"], looked["end"]) == ("void", None)
    assert "the experiment is of version 2: it is void" in looked["verdict"]["reasons"][0]
    ended = command(tmp_path, "--decide")
    assert (ended["outcome"], ended["end"]["champion"]) == ("void", "1")
    registry().promote("2")
    assert command(tmp_path, *PLAN)["outcome"] == "planned"


@pytest.mark.usefixtures("weak")
def test_what_was_decided_goes_on_after_a_crash_and_never_over_another_champion(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from datetime import UTC, datetime

    from millrace.experiments import Decision

    decision = Decision(status="promote", reasons=("It is better.",), time=datetime.now(UTC))
    # Killed right after the decision, before anything was done.
    first = Record(Path(command(tmp_path, *PLAN)["record"]))
    first.decide(decision)
    ended = command(tmp_path, "--decide")
    assert (ended["outcome"], ended["end"]["champion"]) == ("promote", "1")
    assert registry().with_alias("champion").version == "1"

    # Killed once the alias had moved, before the record was closed.
    record = json.loads((first.folder / "end.json").read_text())
    (first.folder / "end.json").unlink()
    ended = command(tmp_path, "--decide")
    assert ended["end"]["bento"] == record["bento"]
    assert registry().champions() == ["1", "2", "1"]

    # Decided, and another one has become champion before its turn.
    registry().promote("2")
    second = Record(Path(command(tmp_path, *PLAN)["record"]))
    weaker = [*FEWEST, "--set=candidates.lightgbm.n_estimators=2"]
    assert run.main(["--pipeline", "training", "--problem", "iris", *weaker]) == 0
    registry().promote("3")
    second.decide(decision)
    ended = command(tmp_path, "--decide")
    assert (ended["outcome"], ended["end"]["champion"]) == ("void", "3")
    assert registry().with_alias("champion").version == "3"

    # Stopped by a person, without a log.
    command(tmp_path, *PLAN)
    stopped = command(tmp_path, "--decide", "stop")
    assert (stopped["outcome"], stopped["verdict"]) == ("stop", None)
    assert registry().with_alias("champion").version == "3"
    assert "--set is for --plan" in refused(capsys, "--set", "alpha=0.2")
    assert "pass one of them" in refused(capsys, "--plan", "--decide")
    assert "'iris' has no version 9" in refused(capsys, "--plan", "--challenger", "9")
    assert "--challenger 3: that is the champion" in refused(capsys, "--plan", "--challenger", "3")
