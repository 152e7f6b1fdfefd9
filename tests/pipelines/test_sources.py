"""Training from other sources than the problem's own: same rows, versions, credentials."""

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.errors import UserError
from tests.conftest import Home

METADATA = """
import json
from zenml.client import Client
run = Client().list_pipeline_runs(sort_by="desc:created", size=1).items[0]
bronze = run.steps["ingest"].outputs["bronze"][0]
print(json.dumps({{**bronze.run_metadata, "source": run.config.parameters["source"]}}, default=str))
"""
TAGS = """
import json
from millrace.registry import Registry
from stacks.environment import home
registry = Registry("iris", f"sqlite:///{home()}/store/mlflow.db")
print(json.dumps([dict(version.tags) for version in registry.client.search_model_versions("name='iris'")]))
"""


@pytest.fixture
def iris() -> pd.DataFrame:
    from sklearn.datasets import load_iris

    data = load_iris(as_frame=True)
    frame: pd.DataFrame = data.frame
    return frame.assign(target=data.target_names[data.target]).sample(frac=1, random_state=0)


def metadata(home: Home) -> dict[str, Any]:
    return dict(home.ask(METADATA.format()))


def test_the_same_rows_are_the_same_data_whatever_the_format(
    home: Home, iris: pd.DataFrame, tmp_path: Path
) -> None:
    iris.assign(note="x").to_csv(tmp_path / "iris.csv", sep=";", decimal=",", index=False)
    pq.write_table(
        pa.Table.from_pandas(iris, preserve_index=False), tmp_path / "iris.parquet", row_group_size=7
    )
    first = home.summary("--data", str(tmp_path / "iris.csv"))
    from_csv = metadata(home)
    done = home.train("--data", str(tmp_path / "iris.parquet"))
    from_parquet = metadata(home)
    # All but ingest, promote and build_bento, which always run.
    assert done.stderr.count("taken from the cache") == 15, done.stderr
    assert from_csv["digest"] == from_parquet["digest"]
    assert first["bundle_digest"] in done.stdout
    assert from_csv["format"].startswith("CSV: semicolon, utf-8, decimal commas in sepal length (cm)")
    assert from_csv["ignored_columns"] == ["note"]
    assert from_csv["rows_read"] == from_parquet["rows_read"] == 150
    assert from_parquet["format"] == "Parquet"


def test_a_revision_is_in_lineage_provenance_and_tags(home: Home, iris: pd.DataFrame, tmp_path: Path) -> None:
    # Not in this process: DVC's log would keep the terminal that another test was given.
    dvc = [sys.executable, "-m", "dvc"]
    git = ["git", "-C", str(tmp_path), "-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*dvc, "init", "-q"], cwd=tmp_path, check=True)
    digests = {}
    for tag, rows in {"v1": 120, "v2": 150}.items():
        iris[:rows].to_csv(tmp_path / "iris.csv", index=False)
        subprocess.run([*dvc, "add", "-q", "iris.csv"], cwd=tmp_path, check=True)
        for command in (["add", "-A"], ["commit", "-q", "-m", tag], ["tag", tag]):
            subprocess.run([*git, *command], check=True)
    for tag in ("v1", "v2"):
        digests[tag] = home.summary("--data", f"dvc://{tmp_path}?path=iris.csv&rev={tag}")["bundle_digest"]
        known = metadata(home)["dvc"]
        commit = subprocess.check_output([*git, "rev-parse", tag], text=True).strip()
        assert (known["rev"], known["commit"], len(known["md5"])) == (tag, commit, 32)
        tags = next(tags for tags in home.ask(TAGS) if tags["bundle_digest"] == digests[tag])
        assert {name: tags[f"data_{name}"] for name in known} == known
    assert digests["v1"] != digests["v2"]
    # The older one again: the same model, bit for bit, also when every step is executed.
    again = home.summary("--no-cache", "--data", f"dvc://{tmp_path}?path=iris.csv&rev=v1")
    assert again["bundle_digest"] == digests["v1"]
    assert len(home.state()["versions"]) == 3


def test_credentials_come_from_zenml_and_the_environment_and_are_stored_nowhere(
    home: Home, iris: pd.DataFrame, tmp_path: Path
) -> None:
    folder = tmp_path / "hidden-4711"
    folder.mkdir()
    with sqlite3.connect(folder / "flowers.db") as connection:
        iris.to_sql("iris", connection, index=False)
    home.ask(
        "from zenml.client import Client\n"
        f"Client().create_secret('flowers', {{'folder': {str(folder)!r}}})\nprint('{{}}')"
    )
    told = replace(home, environment={**home.environment, "FLOWERS": "iris-4711"})
    uri = "sqlite:///{{flowers.folder}}/flowers.db#SELECT *, '${FLOWERS}' AS note FROM iris"
    assert told.summary("--data", uri)["rows"]["read"] == 150
    known = metadata(home)
    assert (known["origin"], known["ignored_columns"]) == (uri, ["note"])
    for value in (b"hidden-4711", b"iris-4711"):
        assert not [p for p in home.path.rglob("*") if p.is_file() and value in p.read_bytes()]


@pytest.mark.usefixtures("opened")
def test_a_secret_that_is_not_there_is_refused_and_a_similar_one_named() -> None:
    from zenml.client import Client

    from steps.ingest import read_secret

    Client().create_secret("garden", {"folder": "x"})
    assert read_secret("garden", "folder") == "x"
    with pytest.raises(UserError, match=r"Unknown ZenML secret 'gardn'\. Did you mean 'garden'\?"):
        read_secret("gardn", "folder")
    with pytest.raises(UserError, match=r"'foldr'\. Did you mean 'folder'\?"):
        read_secret("garden", "foldr")
