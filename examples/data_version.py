"""Train on two versions of a table under DVC, and look up which one each run used.

A git and DVC repository with a remote (a folder here; a bucket in earnest) is built under .millrace/. Two
versions of the synthetic sample are committed, tagged and pushed. Then the training command runs on each, and
ZenML is asked what it knows of the two runs.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.csv

from millrace.sample import housing_sample
from stacks import environment

ROOT = Path(__file__).parent.parent
TABLE = "data/housing.csv"
# The newer version has a fifth more rows.
VERSIONS = {"v1": 5_000, "v2": 6_000}
# Small models: this is about the data.
SETTINGS = ("candidates.random_forest=null", "candidates.lightgbm.n_estimators=50", "explained_rows=100")


def main() -> None:
    environment.prepare()
    folder = environment.home() / "data-version"
    repository = build_repository(folder)
    runs = {version: train(repository, version, folder) for version in VERSIONS}
    print(f"\nWhat the lineage says, of a table in {repository}:\n")
    for version, summary in runs.items():
        for line in lineage(summary):
            print(f"  {version}  {line}")
        print()


def build_repository(folder: Path) -> Path:
    """Commit two versions of the table under DVC, tag them and push them to a remote."""
    shutil.rmtree(folder, ignore_errors=True)
    repository = folder / "repository"
    (repository / TABLE).parent.mkdir(parents=True)
    git, dvc = (
        ["git", "-C", str(repository)],
        [str(Path(sys.executable).with_name("dvc")), "--cd", str(repository)],
    )
    call(*git, "init", "--quiet")
    call(*git, "config", "user.name", "Millrace")
    call(*git, "config", "user.email", "millrace@localhost")
    call(*dvc, "init", "--quiet")
    # For a bucket: dvc remote add --default store s3://BUCKET/PATH
    call(*dvc, "remote", "add", "--quiet", "--default", "store", str(folder / "remote"))
    table = housing_sample()
    for version, rows in VERSIONS.items():
        pyarrow.csv.write_csv(table.slice(0, rows), repository / TABLE)
        call(*dvc, "add", "--quiet", TABLE)
        call(*git, "add", "--all")
        call(*git, "commit", "--quiet", "--message", f"{rows} rows")
        call(*git, "tag", version)
    call(*dvc, "push", "--quiet", "--all-tags")
    return repository


def train(repository: Path, version: str, folder: Path) -> dict[str, Any]:
    """Run the training command on one version and return its summary."""
    summary = folder / f"{version}.json"
    source = f"dvc://{repository}?path={TABLE}&rev={version}"
    print(f"\n$ python run.py --pipeline training --data '{source}'")
    settings = [f"--set={setting}" for setting in SETTINGS]
    command = ("run.py", "--pipeline", "training", "--data", source, "--summary", str(summary))
    call(sys.executable, *command, *settings)
    result: dict[str, Any] = json.loads(summary.read_text())
    return result


def lineage(summary: dict[str, Any]) -> list[str]:
    """What ZenML recorded of a run's table, and which model came of it."""
    from zenml.client import Client

    bronze = Client().get_pipeline_run(summary["run_id"]).steps["ingest"].outputs["bronze"][0]
    known = bronze.run_metadata
    return [
        f"revision       {known['dvc']['rev']}, commit {known['dvc']['commit']}",
        f"file           md5 {known['dvc']['md5']}, {known['format']}",
        f"rows           {known['rows_read']}, digest {known['digest']}",
        f"artifact       bronze, version {bronze.version}",
        f"model          version {summary['model_version']}, bundle {summary['bundle_digest']}",
    ]


def call(*command: str) -> None:
    quiet = {"DVC_NO_ANALYTICS": "1"}
    subprocess.run(command, cwd=ROOT, env={**os.environ, **quiet}, check=True)


if __name__ == "__main__":
    main()
