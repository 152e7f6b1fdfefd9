"""The bundle as MLflow calls it: answers and probabilities under names of their own."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from millrace.bundle import PROVENANCE, Bundle, seal, write_json
from millrace.errors import UserError
from millrace.intervals import fit_intervals
from millrace.metrics import Outcome
from millrace.pyfunc import BundleModel, pack_code, signature
from tests.millrace.cases import Case, make_case, make_fitted


def asked(case: Case, threshold: float = 0.5) -> tuple[BundleModel, pd.DataFrame]:
    """A model of the case, and its table without target."""
    fitted = dataclasses.replace(make_fitted(case.problem.task, "lightgbm"), threshold=threshold)
    bundle = Bundle(folder=None, digest="0", fitted=fitted)  # type: ignore[arg-type]
    return BundleModel(bundle), case.table.drop(columns="y")


def test_the_output_is_that_of_the_signature(case: Case) -> None:
    model, table = asked(case)
    found = model.predict(table)
    schema = signature(case.problem).outputs
    if not case.problem.classes:
        np.testing.assert_array_equal(found, model.bundle.fitted.predict(table))
        assert not schema.has_input_names()
        return
    assert list(found.columns) == schema.input_names()
    assert found.columns[1:].tolist() == [f"_probability_{name}" for name in case.problem.classes]
    np.testing.assert_array_equal(found.iloc[:, 1:], model.bundle.fitted.predict(table))
    likeliest = found.iloc[:, 1:].idxmax(axis=1).str.removeprefix("_probability_")
    assert (found["_prediction"] == likeliest).mean() > 0.99


def test_the_label_follows_the_threshold_and_the_probabilities_do_not() -> None:
    (model, table), (plain, _) = asked(make_case("binary"), 0.3), asked(make_case("binary"))
    found, before = model.predict(table), plain.predict(table)
    pd.testing.assert_frame_equal(found.iloc[:, 1:], before.iloc[:, 1:])
    assert ((found["_prediction"] == "true") == (found["_probability_true"] >= 0.3)).all()
    assert (found["_prediction"] != before["_prediction"]).any()


def calibrated(case: Case) -> tuple[BundleModel, pd.DataFrame]:
    """The same with intervals, here from the rows that the model was fitted on."""
    model, table = asked(case)
    fitted = model.bundle.fitted
    outcome = Outcome(case.problem, case.rows.target, fitted.predict(table))
    intervals = fit_intervals(outcome, np.arange(len(table)))
    return BundleModel(
        dataclasses.replace(model.bundle, fitted=dataclasses.replace(fitted, intervals=intervals))
    ), table


def save(model: BundleModel, folder: Path, **options: Any) -> None:
    """A sealed bundle of the model as `folder`/model, as MLflow saves it with these options."""
    bundle = folder / "bundle"
    bundle.mkdir()
    model.bundle.fitted.save(bundle)
    write_json(bundle / PROVENANCE, {})
    seal(bundle)
    mlflow.pyfunc.save_model(
        folder / "model",
        loader_module="millrace.pyfunc",
        data_path=str(bundle),
        pip_requirements=[],
        **options,
    )


def test_with_a_level_the_intervals_are_those_of_the_model(case: Case) -> None:
    model, table = calibrated(case)
    fitted = model.bundle.fitted
    found, plain = model.predict(table, params={"interval": 0.8}), fitted.predict(table)
    assert found["_prediction"].tolist() == fitted.answers(plain)
    if case.problem.classes:
        assert found["_set"].tolist() == fitted.sets(plain, 0.8)
        pd.testing.assert_frame_equal(found.drop(columns="_set"), model.predict(table))
    else:
        np.testing.assert_array_equal(found[["_low", "_high"]], fitted.bounds(plain, 0.8))
    with pytest.raises(UserError, match=r"from 0\.5 to 0\.99, not 95"):
        model.predict(table, params={"interval": 95.0})


def test_mlflow_takes_the_level_by_its_own_parameters(case: Case, tmp_path: Path) -> None:
    """Saved and loaded by MLflow, which checks names and types by the signature."""
    model, table = calibrated(case)
    save(model, tmp_path, signature=signature(case.problem))
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    rows = table.drop(columns="id").head(20).assign(lift=table["lift"].head(20).fillna(False).astype(bool))
    expected, plain = model.predict(rows, {"interval": 0.8}), model.predict(rows)
    pd.testing.assert_frame_equal(loaded.predict(rows, params={"interval": 0.8}), expected)
    assert type(loaded.predict(rows)) is type(plain)
    np.testing.assert_array_equal(loaded.predict(rows), plain)
    with pytest.raises(MlflowException, match="interval"):
        loaded.predict(rows, params={"interval": "wide"})


# What a process without this checkout finds, and where it finds it.
ELSEWHERE = """
import sys
import mlflow, pandas as pd
loaded = mlflow.pyfunc.load_model("model")
answers = loaded.predict(pd.read_parquet("rows.parquet"))
pd.DataFrame({"y": answers}).to_parquet("answers.parquet")
print(sys.modules["millrace.bundle"].__file__)
"""


def test_a_model_brings_its_code_in_one_archive(tmp_path: Path) -> None:
    model, table = asked(make_case("regression"))
    save(model, tmp_path, code_paths=[str(pack_code(tmp_path))])
    code = tmp_path / "model" / "code"
    assert {str(path.relative_to(code)) for path in code.rglob("*") if path.is_file()} == {
        "millrace/__init__.py",
        "millrace/modules.zip",
    }
    table.to_parquet(tmp_path / "rows.parquet")
    command = [sys.executable, "-P", "-c", ELSEWHERE]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(code / "millrace" / "modules.zip" / "bundle.py")
    answers = pd.read_parquet(tmp_path / "answers.parquet")["y"]
    np.testing.assert_array_equal(answers, model.predict(table))
