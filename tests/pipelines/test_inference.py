"""The inference command: predictions of a registered version as files; one sentence for a fault."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

import run
from tests.conftest import Home

INPUTS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]


def iris() -> pd.DataFrame:
    from sklearn.datasets import load_iris

    return load_iris(as_frame=True).data


def infer(*arguments: str) -> int:
    return run.main(["--pipeline", "inference", "--problem", "iris", *arguments])


def summary(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    path = tmp_path / "summary.json"
    assert infer("--summary", str(path), *arguments) == 0
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_the_champion_s_predictions_are_written_shown_and_logged(opened: Home, tmp_path: Path) -> None:
    from zenml.client import Client

    from millrace.contract import load_problem
    from millrace.prediction_log import read_log
    from millrace.registry import Registry

    table = iris()
    table.loc[4, INPUTS[0]] = -1
    (tmp_path / "in").mkdir()
    table[:90].to_csv(tmp_path / "in" / "a.csv", index=False)
    table[90:].to_parquet(tmp_path / "in" / "b.parquet", index=False)
    out = tmp_path / "out"
    said = summary(
        tmp_path, "--input", str(tmp_path / "in"), "--output", str(out), "--explain", "--intervals"
    )
    assert said["rows"] == {"read": 150, "scored": 149, "quarantined": 1}
    assert said["reasons"] == {"sepal length (cm): below 0": 1}
    registry = Registry("iris", f"sqlite:///{opened.path}/store/mlflow.db")
    champion = registry.with_alias("champion")
    assert champion is not None
    assert (said["model_version"], said["bundle_digest"]) == (champion.version, champion.digest)

    from millrace.bundle import load_bundle

    fitted = load_bundle(registry.fetch_bundle(champion.version, opened.path / "cache")).fitted
    rows = pd.concat([pq.read_table(path).to_pandas() for path in sorted(out.glob("*.parquet"))])
    expected = fitted.predict(table.drop(index=4))
    assert rows["_prediction"].tolist() == fitted.answers(expected)
    assert rows["_probability_setosa"].to_numpy() == pytest.approx(expected[:, 0])
    assert [list(names) for names in rows["_set"]] == fitted.sets(expected, 0.9)
    assert f"_contribution_setosa_{INPUTS[0]}" in rows
    steps = Client().get_pipeline_run(said["run_id"]).steps
    outputs = {name: found[0] for name, found in steps["score"].outputs.items()}
    assert outputs["manifest"].run_metadata["rows_quarantined"] == 1
    assert len(outputs["sample"].load()) == 90 - 1
    assert outputs["quarantine_sample"].load()["_row"].tolist() == [4]
    assert "sepal length (cm): below 0" in outputs["inference_page"].load()
    shown = [
        each.type.value for name in ("sample", "quarantine_sample") for each in outputs[name].visualizations
    ]
    assert shown == ["csv", "csv"]
    log = f"sqlite:///{opened.path}/bentoml/prediction_log/iris.db"
    problem = load_problem("iris", run.CONFIGS / "problems")
    logged = pd.concat(read_log(log, problem))
    assert (len(logged), set(logged["_variant"])) == (149, {"batch"})

    assert infer("--input", str(tmp_path / "in"), "--output", str(out)) == 2
    again = summary(
        tmp_path, "--input", "sklearn://iris", "--output", str(out), "--overwrite", "--model", "1"
    )
    assert again["rows"] == {"read": 150, "scored": 150, "quarantined": 0}
    assert not list(out.glob("_quarantine/*"))

    (tmp_path / "in" / "c.parquet").write_bytes(b"PAR1 no table")
    assert infer("--input", str(tmp_path / "in"), "--output", str(tmp_path / "more.csv")) == 3
    manifest = json.loads((tmp_path / "more.csv" / "_manifest.json").read_text())
    assert manifest["rows"]["scored"] == 149
    assert ["c.parquet" in file["name"] for file in manifest["set_aside"]] == [True]


REFUSED = [
    (["--input", "{table}"], "pass --input URI --output URI"),
    (["--input", "{table}", "--output", "{out}", "--data", "{table}"], "takes no --data"),
    (["--input", "{table}", "--output", "{out}", "--intervals", "2"], "a level is from 0.5 to 0.99"),
    (["--input", "{table}", "--output", "{out}", "--model", "7"], "Unknown version of 'iris': '7'"),
    (["--input", "{table}", "--output", "{out}", "--model", "challenger"], "has no challenger"),
    (["--input", "{table}", "--output", "{out}", "--set", "batch_row=3"], "Did you mean 'batch_rows'"),
    (["--input", "{table}x", "--output", "{out}"], "no such file"),
    (["--input", "{table}", "--output", "{out}", "--scheduler", "tcp://a:1"], "pass --engine dask with it"),
    (
        ["--input", "{table}", "--output", "{out}", "--engine", "dask", "--scheduler", "a:1"],
        "like tcp://HOST:8786",
    ),
    (
        ["--input", "{table}", "--output", "{out}", "--engine", "dask", "--scheduler", "tcp://127.0.0.1:9"],
        "--scheduler tcp://127.0.0.1:9: does not answer",
    ),
    (["--input", "{table}", "--output", "{table}"], "is the input"),
    (["--input", "{table}", "--output", "/proc/out"], "cannot be written"),
]


@pytest.mark.usefixtures("opened")
def test_what_cannot_be_done_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from millrace import clusters

    monkeypatch.setattr(clusters, "ANSWER", 0.5)
    table = tmp_path / "table.csv"
    iris().to_csv(table, index=False)
    for arguments, expected in REFUSED:
        filled = [text.format(table=table, out=tmp_path / "out") for text in arguments]
        assert infer(*filled) == 2
        captured = capsys.readouterr().err
        assert expected in captured
        assert "Traceback" not in captured
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state", "table.csv"]
    assert run.main(["--pipeline", "training", "--input", str(table)]) == 2
    assert "--input is for --pipeline inference" in capsys.readouterr().err


@pytest.mark.usefixtures("opened")
def test_a_problem_without_a_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--input", "sample://housing", "--output", str(tmp_path / "out")]
    assert run.main(["--pipeline", "inference", *arguments]) == 2
    assert "There is no model of 'housing_sample' on this stack" in capsys.readouterr().err
