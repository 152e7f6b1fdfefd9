"""Training on a staging stack: the same command, the same model, everything on the servers."""

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts

from millrace.bundle import verify
from tests.conftest import QUICK, Home
from tests.stacks.promoting import ON_STAGING, run
from tests.stacks.servers import BUCKET, Servers

# The runs and stages that a stack's ZenML has, and the locks that are left.
ZENML = """
import json
from zenml.client import Client
client = Client()
runs = client.list_pipeline_runs(size=100, hydrate=True).items
print(json.dumps({
    "runs": {run.name: run.status.value for run in runs},
    "artifacts": sorted({a.uri.split("/")[2] for a in client.list_artifact_versions(size=500).items}),
    "stages": {v.name: v.stage for v in client.list_model_versions(model="iris").items},
    "models": [model.name for model in client.list_models(size=100).items],
    "linked": {v.name: [link.pipeline_run.name for link in client.list_model_version_pipeline_run_links(
        model_version_id=v.id).items] for v in client.list_model_versions(model="iris").items},
}))
"""
ACTIVE = """
import json
from zenml.client import Client
print(json.dumps(Client().active_stack_model.name))
"""


def files(folder: Path) -> dict[str, str]:
    """The digest of every file below a folder, of a database of ZenML that of its rows."""
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.name == "zenml.db":
            with closing(sqlite3.connect(path)) as database:
                found[name] = hashlib.sha256("\n".join(database.iterdump()).encode()).hexdigest()
        elif path.is_file() and not path.name.endswith((".lock", "-wal", "-shm")):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def test_the_run_is_on_the_servers_the_model_is_the_local_one_and_the_user_s_stack_stays(
    home: Home, servers: Servers, mlflow: MlflowClient, tmp_path: Path
) -> None:
    staged = Home(home.path, {**home.environment, **servers.environment})
    [local] = [verify(folder) for folder in home.path.glob("bentoml/models/iris/*/bundle")]
    before = [files(home.path / name) for name in ("zenml", "store")]

    summary = staged.summary("--stack", "staging")

    assert summary["promoted"] is True
    assert summary["bundle_digest"] == local
    assert [files(home.path / name) for name in ("zenml", "store")] == before
    assert home.ask(ACTIVE) == "default"
    on_disk = "".join(
        path.read_text(errors="replace")
        for path in (home.path / "zenml-servers").rglob("*")
        if path.is_file()
    )
    for name in ("ZENML_API_KEY", "S3_SECRET", "MLFLOW_PASSWORD"):
        assert servers.environment[f"MILLRACE_STAGING_{name}"] not in on_disk

    keys = keys_below(servers, f"s3://{BUCKET}/zenml")
    assert any(key.endswith("/manifest.json") for key in keys)
    assert any(key.endswith("/table.parquet") for key in keys)
    assert not [key for key in keys if "millrace-check" in key or key.endswith((".pkl", ".pickle"))]

    assert_registered(mlflow, summary["bundle_digest"])
    champion = mlflow.get_model_version_by_alias("iris", "champion")
    tracked = mlflow.get_run(champion.run_id)
    assert (tracked.info.run_name, tracked.info.status) == (summary["run_name"], "FINISHED")
    assert tracked.info.artifact_uri.startswith("mlflow-artifacts:")
    assert "holdout_log_loss" in tracked.data.metrics
    assert champion.tags.keys() >= {"data_digest", "git_revision", "zenml_run_id"}
    assert champion.tags.items() <= tracked.data.tags.items()
    children = mlflow.search_runs(
        [tracked.info.experiment_id], f"tags.`mlflow.parentRunId` = '{champion.run_id}'"
    )
    names = [entry["candidate"] for entry in summary["leaderboard"][:-1]]
    assert sorted(child.info.run_name for child in children) == sorted(names)
    assert "plots/importance.png" in [item.path for item in mlflow.list_artifacts(champion.run_id, "plots")]
    experiments = [experiment.experiment_id for experiment in mlflow.search_experiments()]
    assert not mlflow.search_runs(experiments, "attributes.status = 'RUNNING'")
    inputs = {given.tags[0].value: given.dataset for given in tracked.inputs.dataset_inputs}
    assert inputs.keys() == {"training", "evaluation"}
    for dataset in inputs.values():
        assert (dataset.source_type, len(dataset.digest)) == ("s3", 36)
        [key] = keys_below(servers, json.loads(dataset.source)["uri"])
        assert key.endswith("/table.parquet")
    source = mlflow.get_model_version_download_uri("iris", champion.version)
    url = servers.environment["MILLRACE_STAGING_MLFLOW_URL"]
    model = download_artifacts(source, dst_path=str(tmp_path), tracking_uri=url)
    assert verify(Path(model) / "data" / "bundle") == local

    lineage = staged.ask(ON_STAGING + ZENML)
    assert lineage == {
        "runs": {summary["run_name"]: "completed"},
        "artifacts": [BUCKET],
        "stages": {"v1": "production"},
        "models": ["iris"],
        "linked": {"v1": [summary["run_name"]]},
    }

    # Again: nothing new, and nothing is told to have changed. Then the champion predicts into the bucket.
    keyed = Home(staged.path, {**staged.environment, **servers.for_other_programs()})
    scores = f"s3://{BUCKET}/scores/iris.csv"
    again, inferred = run(
        keyed,
        f"--pipeline training --problem iris --stack staging {' '.join(QUICK)}",
        f"--pipeline inference --problem iris --stack staging --input sklearn://iris --output {scores}",
    )
    assert again.code == 0, again.err
    assert again.err.count("taken from the cache") == 15
    assert "staging: " not in again.err
    assert_registered(mlflow, summary["bundle_digest"])
    assert (inferred.code, "150 read = 150 scored" in inferred.out) == (0, True), inferred.err
    assert [key.rpartition(".")[2] for key in keys_below(servers, scores)] == ["json", "csv"]


def assert_registered(mlflow: MlflowClient, digest: str) -> None:
    """The registry has this one version, and it is champion."""
    versions = mlflow.search_model_versions("name='iris'")
    assert {str(version.version): version.tags["bundle_digest"] for version in versions} == {"1": digest}
    aliases = mlflow.get_registered_model("iris").aliases
    assert {alias: str(version) for alias, version in aliases.items()} == {"champion": "1"}


def keys_below(servers: Servers, uri: str) -> list[str]:
    """The keys of the objects in a folder of the bucket."""
    prefix = uri.removeprefix(f"s3://{BUCKET}/") + "/"
    found = servers.s3().list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [each["Key"] for each in found.get("Contents", [])]
