"""Training on a staging stack: the same command, the same model, everything on the servers."""

import hashlib
import json
from pathlib import Path

from tests.conftest import Home
from tests.stacks.servers import BUCKET, Servers

# What MLflow's own client says of iris, with nothing of Millrace but where the server is.
MLFLOW = """
import hashlib, json, os, tempfile
from pathlib import Path
os.environ["MLFLOW_TRACKING_USERNAME"] = os.environ["MILLRACE_STAGING_MLFLOW_USER"]
os.environ["MLFLOW_TRACKING_PASSWORD"] = os.environ["MILLRACE_STAGING_MLFLOW_PASSWORD"]
import mlflow
mlflow.set_tracking_uri(os.environ["MILLRACE_STAGING_MLFLOW_URL"])
client = mlflow.MlflowClient()
model = client.get_registered_model("iris")
versions = client.search_model_versions("name='iris'")
champion = client.get_model_version_by_alias("iris", "champion")
run = client.get_run(champion.run_id)
with tempfile.TemporaryDirectory() as folder:
    mlflow.artifacts.download_artifacts(f"models:/iris/{champion.version}", dst_path=folder)
    bundle = Path(folder, "data", "bundle")
    sums = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in bundle.iterdir() if p.is_file()}
    manifest = json.loads((bundle / "manifest.json").read_text())
print(json.dumps({
    "versions": {v.version: v.tags["bundle_digest"] for v in versions},
    "aliases": model.aliases,
    "inputs": {given.tags[0].value: given.dataset.to_dictionary() for given in run.inputs.dataset_inputs},
    "tags": {name: run.data.tags.get(name) == value for name, value in champion.tags.items()},
    "run": run.info.run_name, "status": run.info.status, "artifacts_at": run.info.artifact_uri,
    "metrics": sorted(run.data.metrics),
    "children": sorted(child.info.run_name for child in client.search_runs(
        [run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{champion.run_id}'")),
    "plots": [item.path for item in client.list_artifacts(champion.run_id, "plots")],
    "open": len(client.search_runs([e.experiment_id for e in client.search_experiments()],
        "attributes.status = 'RUNNING'")),
    "sums": sums, "manifest": manifest,
}))
"""
# The runs and stages that a stack's ZenML has, and the locks that are left.
ZENML = """
import json
from collections import Counter
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
ON_STAGING = "from run import _stack\n_stack('staging')\n"
ACTIVE = """
import json
from zenml.client import Client
stack = Client().active_stack_model
print(json.dumps([str(stack.id), stack.name]))
"""


def files(folder: Path) -> dict[str, str]:
    """The digest of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    }


def test_the_run_is_on_the_servers_the_model_is_the_local_one_and_the_user_s_stack_stays(
    home: Home, servers: Servers
) -> None:
    staged = Home(home.path, {**home.environment, **servers.environment})
    local = home.state()
    active = home.ask(ACTIVE)
    configuration = files(home.path / "zenml")
    store = files(home.path / "store")

    summary = staged.summary("--stack", "staging")

    assert summary["promoted"] is True
    assert list(local["versions"].values()) == [summary["bundle_digest"]]
    assert home.ask(ACTIVE) == active
    assert files(home.path / "store") == store
    # Beside the write-ahead log, which any reader may fold into the database.
    before, after = (
        {name: digest for name, digest in each.items() if "zenml.db" not in name}
        for each in (configuration, files(home.path / "zenml"))
    )
    assert before == after
    assert home.state() == local
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

    told = staged.ask(MLFLOW)
    assert told["versions"] == {"1": summary["bundle_digest"]}
    assert told["aliases"] == {"champion": 1} or told["aliases"] == {"champion": "1"}
    assert (told["run"], told["status"], told["open"]) == (summary["run_name"], "FINISHED", 0)
    assert told["artifacts_at"].startswith("mlflow-artifacts:")
    assert "holdout_log_loss" in told["metrics"]
    assert told["children"] == sorted(entry["candidate"] for entry in summary["leaderboard"][:-1])
    assert "plots/importance.png" in told["plots"]
    assert told["tags"].keys() >= {"data_digest", "git_revision", "zenml_run_id"}
    assert all(told["tags"].values())
    assert told["inputs"].keys() == {"training", "evaluation"}
    for given in told["inputs"].values():
        assert (given["source_type"], len(given["digest"])) == ("s3", 36)
        [key] = keys_below(servers, json.loads(given["source"])["uri"])
        assert key.endswith("/table.parquet")
    assert told["sums"].items() >= told["manifest"]["files"].items()

    lineage = staged.ask(ON_STAGING + ZENML)
    assert lineage["runs"] == {summary["run_name"]: "completed"}
    assert lineage["artifacts"] == [BUCKET]
    assert lineage["stages"] == {"v1": "production"}
    assert lineage["models"] == ["iris"]
    assert lineage["linked"] == {"v1": [summary["run_name"]]}

    # The champion of staging predicts for a table, and writes into the bucket.
    infer = (
        "--pipeline",
        "inference",
        "--problem",
        "iris",
        "--stack",
        "staging",
        "--input",
        "sklearn://iris",
    )
    keyed = Home(staged.path, {**staged.environment, **servers.for_other_programs()})
    process = keyed.python("run.py", *infer, "--output", f"s3://{BUCKET}/scores/iris.csv")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, "150 read = 150 scored" in out) == (0, True), err
    written = keys_below(servers, f"s3://{BUCKET}/scores/iris.csv")
    assert [key.rpartition(".")[2] for key in written] == ["json", "csv"]

    # Again: nothing new, and nothing is told to have changed.
    again = staged.train("--stack", "staging")
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("taken from the cache") == 15
    assert "  staging: " not in again.stderr
    assert staged.ask(MLFLOW)["versions"] == told["versions"]


def keys_below(servers: Servers, uri: str) -> list[str]:
    """The keys of the objects in a folder of the bucket."""
    prefix = uri.removeprefix(f"s3://{BUCKET}/") + "/"
    found = servers.s3().list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [each["Key"] for each in found.get("Contents", [])]
