"""Promotion from the local stack to a staging one, what stops it, and the way back."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from millrace.bundle import verify
from tests.conftest import Home
from tests.stacks.promoting import ON_STAGING, add_versions, commands
from tests.stacks.servers import Servers, free_port

# Models of their own names, so that this file and others do not meet on the servers.
NAME = "breast_cancer"
CHANGES = ({"name": NAME}, {"name": NAME, "target": {"meaning": "another meaning"}})
LINEAGE = """
import json
from zenml.client import Client
client = Client()
runs = client.list_pipeline_runs(size=100, hydrate=True, sort_by="asc:created").items
print(json.dumps({
    "runs": [[run.pipeline.name, run.status.value, dict(run.run_metadata)] for run in runs
             if run.name.startswith("promotion_NAME")],
    "arrived": [a.version for a in client.list_artifact_versions(artifact="promoted_bundle", size=100).items],
    "stages": {v.name: v.stage for v in client.list_model_versions(model="NAME").items},
    "locks": [m.name for m in client.list_models(size=100).items if m.name.startswith("lock-")],
}))
"""


@pytest.fixture
def staged(home: Home, servers: Servers) -> Home:
    """The trained home, whose processes also find the servers."""
    return Home(home.path, {**home.environment, **servers.environment})


def told(mlflow: MlflowClient, name: str = NAME) -> tuple[dict[str, str], dict[str, str]]:
    """The registry's digests by version, and its aliases."""
    versions = {
        str(v.version): v.tags["bundle_digest"] for v in mlflow.search_model_versions(f"name='{name}'")
    }
    aliases = mlflow.get_registered_model(name).aliases if versions else {}
    return versions, {alias: str(version) for alias, version in aliases.items()}


def test_from_local_to_staging_and_back(staged: Home, mlflow: MlflowClient, tmp_path: Path) -> None:
    added = add_versions(staged, *CHANGES)
    digests = {version: digest for version, digest, _ in added}
    promote = "--from local --to staging"

    # Dry, nothing is written: no version, not even ZenML's stack.
    (dry,) = commands(staged, f"{promote} --dry-run", problem=NAME)
    assert dry.code == 0, dry.err
    assert "added as a new version" in dry.out
    assert "champion none -> a new version" in dry.out
    assert "nothing was written" in dry.out
    assert told(mlflow) == ({}, {})
    assert not (staged.path / "zenml-servers" / "staging" / "config.yaml").exists()

    arguments = ("--pipeline", "promotion", "--problem", NAME, "--from", "local", "--to", "staging")
    staged.python("run.py", *arguments).kill_at("appoint")
    assert told(mlflow) == ({"1": digests["1"]}, {})

    summary = tmp_path / "summary.json"
    *good, none = commands(
        staged,
        f"{promote} --summary {summary}",
        promote,
        f"{promote} --version 2",
        "--to staging --roll-back --dry-run",
        "--to staging --roll-back",
        "--to staging --roll-back",
        problem=NAME,
    )
    assert [done.code for done in good] == [0] * 5, [done.err for done in good]
    first, again, second, dry_back, back = good
    assert first.err.count("was killed; it is now marked as failed") == 1
    outcome = json.loads(summary.read_text())
    assert (outcome["version"], outcome["champion_before"], outcome["digest"]) == ("1", None, digests["1"])
    assert "staging has it already, as version 1: no second version" in again.out
    assert "champion version 1, unchanged" in again.out
    assert "champion version 1 -> version 2" in second.out
    assert "its contract differs from that of the champion before" in second.out
    assert "champion version 2 -> version 1" in dry_back.out
    assert "nothing was written" in dry_back.out
    assert "champion version 2 -> version 1" in back.out
    assert "its contract differs" in back.out
    assert (none.code, "knows of no champion of 'breast_cancer' before" in none.err) == (2, True)

    versions, aliases = told(mlflow)
    assert versions == digests
    assert aliases == {"champion": "1"}
    version = mlflow.get_model_version(NAME, "1")
    assert version.description.startswith("# Model card")
    tags = version.tags
    assert (tags["promoted_from_stack"], tags["promoted_from_version"]) == ("local", "1")
    assert tags["promoted_from_digest"] == tags["bundle_digest"] == digests["1"]
    assert tags["promoted_from_run_id"] == added[0][2]
    assert tags["data_digest"]
    run = mlflow.get_run(version.run_id)
    assert run.data.tags["mlflow.runName"] == tags["zenml_run_name"]
    assert "holdout_log_loss" in run.data.metrics
    experiments = [experiment.experiment_id for experiment in mlflow.search_experiments()]
    assert not mlflow.search_runs(experiments, "attributes.status = 'RUNNING'")

    lineage = staged.ask(ON_STAGING + LINEAGE.replace("NAME", NAME))
    runs = lineage["runs"]
    assert [(name, status) for name, status, _ in runs] == [
        ("promotion", "failed"),
        *[("promotion", "completed")] * 3,
        ("rolling_back", "completed"),
    ]
    assert (
        runs[1][2].items()
        >= {
            "from": "local",
            "to": "staging",
            "from_version": "1",
            "from_digest": digests["1"],
            "digest": digests["1"],
        }.items()
    )
    assert set(lineage["arrived"]) >= set(digests.values())
    assert len(lineage["arrived"]) == len(set(lineage["arrived"]))
    assert lineage["stages"] == {"v1": "production", "v2": "archived"}
    assert lineage["locks"] == []

    # The other way: it is there, and this machine serves what the local stack has as champion.
    (home,) = commands(staged, "--from staging --to local", problem=NAME)
    assert home.code == 0, home.err
    assert "local has it already, as version 1: no second version" in home.out
    assert latest(staged, NAME).startswith(digests["1"][:12])

    # The champion of a stack is one command away.
    (staged.path / "bentoml" / "bentos" / NAME / "latest").unlink()
    out, err = staged.python("-m", "steps.serve", "staging", NAME).communicate(timeout=120)
    assert out == f"{NAME}:{latest(staged, NAME)}\n", err
    assert verify(staged.path / "bentoml" / "models" / NAME / digests["1"][:12] / "bundle") == digests["1"]


def latest(home: Home, name: str) -> str:
    """The version of the Bento that this home serves."""
    return (home.path / "bentoml" / "bentos" / name / "latest").read_text()


def test_what_stops_a_promotion_and_leaves_the_champion(
    staged: Home, mlflow: MlflowClient, tmp_path: Path
) -> None:
    name = "housing_sample"
    changes = [{"name": name, "title": f"Made {number} times"} for number in range(3)]
    changes[2]["digest"] = "0" * 64
    (_, digest, _), *_ = add_versions(staged, *changes)
    promote = "--from local --to staging"
    # In the local registry: version 2 damaged, version 3 another than was registered.
    contracts = (staged.path / "store").rglob("contract.json")
    damage = next(path for path in contracts if "Made 1 times" in path.read_text())
    damage.write_text(damage.read_text().replace("1 times", "9 times"))

    good, damaged, forged, unknown, no_champion = commands(
        staged,
        promote,
        f"{promote} --version 2",
        f"{promote} --version 3",
        f"{promote} --version 9",
        "--from staging --to local --problem california_housing",
        problem=name,
    )
    assert good.code == 0, good.err
    assert [done.code for done in (damaged, forged, unknown, no_champion)] == [2] * 4
    assert "'contract.json' was changed after training" in damaged.err
    assert f"was registered with the digest {'0' * 64}, but its bundle has " in forged.err
    assert "has no version 9 of 'housing_sample'; its versions: 1, 2, 3." in unknown.err
    assert "stack 'staging' has no champion of 'california_housing'; its versions: none." in no_champion.err
    assert told(mlflow, name) == ({"1": digest}, {"champion": "1"})

    # In staging's, version 1 is damaged where it is: the alias does not go there.
    mlflow.delete_registered_model_alias(name, "champion")
    wrong = tmp_path / "damaged" / "data" / "bundle"
    wrong.mkdir(parents=True)
    (wrong / "contract.json").write_text("{}")
    model = mlflow.get_model_version(name, "1").source.removeprefix("models:/")
    mlflow.log_model_artifacts(model, str(tmp_path / "damaged"))
    for done in commands(staged, promote, f"{promote} --dry-run", problem=name):
        assert (done.code, "'contract.json' was changed after training" in done.err) == (2, True), done.err
    assert told(mlflow, name) == ({"1": digest}, {})

    lost = {"MILLRACE_STAGING_MLFLOW_URL": f"http://127.0.0.1:{free_port()}"}
    apart = Home(staged.path, {**staged.environment, **lost})
    down = commands(
        apart, promote, "--to staging --roll-back --dry-run", "--from staging --to local", problem=name
    )
    for done in down:
        assert (done.code, "nobody listens there" in done.err) == (2, True), done.err
    assert "nothing was run" in down[0].err
