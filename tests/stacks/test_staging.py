"""Training on a staging stack: the same command, the same model, everything on the servers."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.conftest import Home, make_home
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
}))
"""
ON_STAGING = "from run import _stack\n_stack('staging')\n"
ACTIVE = """
import json
from zenml.client import Client
stack = Client().active_stack_model
print(json.dumps([str(stack.id), stack.name]))
"""


def train(home: Home, *arguments: str) -> dict[str, Any]:
    """Train iris on staging and return the summary."""
    return home.summary("--stack", "staging", *arguments)


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

    summary = train(staged)

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

    found = servers.s3().list_objects_v2(Bucket=BUCKET, Prefix="zenml/")["Contents"]
    keys = [each["Key"] for each in found]
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
    assert told["sums"].items() >= told["manifest"]["files"].items()

    lineage = staged.ask(ON_STAGING + ZENML)
    assert lineage["runs"] == {summary["run_name"]: "completed"}
    assert lineage["artifacts"] == [BUCKET]
    assert lineage["stages"] == {"v1": "production"}
    assert lineage["models"] == ["iris"]

    # Again: nothing new, and nothing is told to have changed.
    again = staged.train("--stack", "staging")
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("taken from the cache") == 15
    assert "  staging: " not in again.stderr
    assert staged.ask(MLFLOW)["versions"] == told["versions"]


def test_two_machines_that_train_at_once_make_two_versions_and_one_champion(
    servers: Servers, tmp_path: Path
) -> None:
    machines = [
        Home(home.path, {**home.environment, **servers.environment})
        for home in (make_home(tmp_path / "one"), make_home(tmp_path / "two"))
    ]
    known = set(versions(machines[0]))
    seeds = [("--set=seed=21", "--set=candidates.linear.alpha=5"), ("--set=seed=22",)]
    with ThreadPoolExecutor(2) as pool:
        summaries = list(pool.map(lambda home, given: train(home, *given), machines, seeds))
    told = machines[0].ask(MLFLOW)
    made = {summary["model_version"] for summary in summaries}
    assert len(made) == 2
    assert set(told["versions"]) == known | made
    promoted = [summary["model_version"] for summary in summaries if summary["promoted"]]
    champion = str(told["aliases"]["champion"])
    assert champion in (promoted or known)
    before = {summary["champion_before"] for summary in summaries}
    assert before <= {*known, *promoted, None}
    assert len({summary["champion_before"] for summary in summaries if summary["promoted"]}) == len(promoted)
    lineage = machines[0].ask(ON_STAGING + ZENML)
    assert lineage["stages"][f"v{champion}"] == "production"
    assert list(lineage["stages"].values()).count("production") == 1
    assert lineage["models"] == ["iris"]
    assert {lineage["runs"][summary["run_name"]] for summary in summaries} == {"completed"}
    assert told["open"] == 0


def versions(home: Home) -> list[str]:
    """The versions of iris that MLflow has so far, if any."""
    code = MLFLOW.partition("model = client")[0]
    code += "print(json.dumps([v.version for v in client.search_model_versions(\"name='iris'\")]))"
    return [str(version) for version in home.ask(code)]
