"""The training command, whole, on real stores."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import FEWEST, SHARED, Home

CALIFORNIA = SHARED / "california_housing.csv"


def test_the_first_model_is_promoted_over_the_baseline(home: Home) -> None:
    state = home.state()
    assert list(state["versions"]) == ["1"]
    assert (state["champion"], state["challenger"]) == ("1", None)
    assert state["stages"] == {"v1": "production"}


def test_the_same_command_again_is_cached_and_makes_no_version(home: Home) -> None:
    summary = home.summary()
    assert summary["model_version"] == "1"
    assert summary["promoted"] is False
    assert summary["reason"] == "it is the champion already"
    done = home.train()
    assert done.stderr.count("taken from the cache") == 15
    assert "(all of it cached)" in done.stdout
    assert list(home.state()["versions"]) == ["1"]


def test_without_the_cache_the_same_model_comes_out_and_makes_no_version(home: Home) -> None:
    summary = home.summary("--no-cache")
    assert home.state()["versions"] == {"1": summary["bundle_digest"]}


def test_another_seed_is_a_challenger_judged_against_the_champion(home: Home) -> None:
    summary = home.summary("--set=seed=7", "--set=candidates.linear.alpha=50")
    assert summary["model_version"] == "2"
    assert summary["champion_before"] == "1"
    assert "of the champion, version 1 on the same" in summary["reason"]
    state = home.state()
    assert state["champion"] == summary["champion_version"] == ("2" if summary["promoted"] else "1")
    assert state["challenger"] == (None if summary["promoted"] else "2")


def test_the_summary_accounts_for_every_row(home: Home) -> None:
    summary = home.summary()
    rows = summary["rows"]
    assert rows == {"read": 150, "used": 149, "quarantined": 0, "duplicates": 1}
    expected = {"run_id", "problem", "task", "metric", "holdout", "leaderboard", "model_version", "promoted"}
    expected |= {"reason", "champion_version", "bundle_digest", "rows", "seconds"}
    assert expected <= summary.keys()


def test_the_bundle_is_the_same_bytes_in_zenml_mlflow_and_bentoml(home: Home) -> None:
    folders = [path.parent for path in home.path.rglob("manifest.json")]
    kinds = {
        kind: [folder for folder in folders if marker in str(folder)]
        for kind, marker in {
            "zenml": "/bundle/bundle/",
            "mlflow": "/data/bundle",
            "bentoml": "/bentoml/models/",
        }.items()
    }
    sums = {kind: {_sums(folder) for folder in found} for kind, found in kinds.items()}
    assert all(len(found) == 1 for found in sums.values()), kinds
    assert len(set.union(*sums.values())) == 1


def test_a_crash_between_alias_and_stage_is_mended_by_the_next_run(home: Home) -> None:
    home.ask(
        "from mlflow import MlflowClient\n"
        "client = MlflowClient(f'sqlite:///{environment.home()}/store/mlflow.db')\n"
        "client.delete_registered_model_alias('iris', 'champion')\n"
        "client.set_registered_model_alias('iris', 'challenger', '1')\n"
        "print('{}')"
    )
    assert home.state()["stages"] == {"v1": "production"}
    home.summary("--set=confidence=0.99")
    state = home.state()
    stages = {f"v{state['champion']}": "production"}
    if state["challenger"]:
        stages[f"v{state['challenger']}"] = "staging"
    assert {name: stage for name, stage in state["stages"].items() if stage != "archived"} == stages


def test_mlflow_loads_the_registered_version_without_a_pickle(home: Home) -> None:
    probabilities = home.ask(
        "import json, mlflow, pandas\n"
        "mlflow.set_tracking_uri(f'sqlite:///{environment.home()}/store/mlflow.db')\n"
        "model = mlflow.pyfunc.load_model('models:/iris@champion')\n"
        "names = model.metadata.get_input_schema().input_names()\n"
        "row = pandas.DataFrame([dict(zip(names, [5.1, 3.5, 1.4, 0.2]))])\n"
        "print(json.dumps(model.predict(row).iloc[0].to_dict()))"
    )
    assert probabilities.pop("_prediction") == "setosa"
    assert max(probabilities, key=probabilities.get) == "_probability_setosa"
    logged = home.path / "store"
    assert not [path for path in logged.rglob("*") if path.suffix in (".pkl", ".pickle", ".joblib")]


def test_what_mlflow_asks_for_to_serve_the_model_can_be_installed(home: Home) -> None:
    [listed] = home.path.glob("store/mlflow_artifacts/models/*/artifacts/requirements.txt")
    assert all("==" in line for line in listed.read_text().splitlines())
    install = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-deps", "-r"]
    done = subprocess.run([*install, str(listed)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_mlflow_shows_the_card_and_gives_sets_on_request(home: Home) -> None:
    told = home.ask(
        "import json, mlflow, pandas\n"
        "mlflow.set_tracking_uri(f'sqlite:///{environment.home()}/store/mlflow.db')\n"
        "client = mlflow.MlflowClient()\n"
        "version = client.get_model_version_by_alias('iris', 'champion')\n"
        "model = mlflow.pyfunc.load_model('models:/iris@champion')\n"
        "names = model.metadata.get_input_schema().input_names()\n"
        "flowers = [5.1, 3.5, 1.4, 0.2], [6.1, 2.8, 4.9, 1.7]\n"
        "rows = pandas.DataFrame([dict(zip(names, flower)) for flower in flowers])\n"
        "print(json.dumps({\n"
        "    'description': version.description,\n"
        "    'artifacts': [item.path for item in client.list_artifacts(version.run_id)],\n"
        "    'card': mlflow.artifacts.load_text(f'runs:/{version.run_id}/card.html'),\n"
        "    'sets': model.predict(rows, params={'interval': 0.95})['_set'].tolist(),\n"
        "    'half': model.predict(rows, params={'interval': 0.5})['_set'].tolist(),\n"
        "}))"
    )
    assert told["description"].startswith("# Model card: iris\n")
    assert "## At a glance" in told["description"]
    assert "card.html" in told["artifacts"]
    # The bundle's card says where to look; where it is shown, the provenance is in it.
    bare = next(home.path.glob("bentoml/models/iris/*/bundle/card.html")).read_text()
    assert "By the run" not in bare
    assert "By the run" in told["card"]
    assert told["sets"][0] == ["setosa"]
    assert set(told["half"][1]) <= set(told["sets"][1]) <= {"setosa", "versicolor", "virginica"}


@pytest.mark.skipif(not CALIFORNIA.is_file(), reason="the California table is not there")
def test_a_csv_file_trains_with_the_problem_of_its_columns(home: Home) -> None:
    summary = home.summary("--data", str(CALIFORNIA), *FEWEST, problem="california_housing")
    assert summary["promoted"] is True
    assert summary["rows"] == {"read": 20640, "used": 20640, "quarantined": 0, "duplicates": 0}


def _sums(folder: Path) -> tuple[tuple[str, str], ...]:
    return tuple(
        sorted(
            (str(path.relative_to(folder)), hashlib.sha256(path.read_bytes()).hexdigest())
            for path in folder.rglob("*")
            if path.is_file()
        )
    )
