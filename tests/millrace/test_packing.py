"""A trained model packed as a bundle: complete, repeatable, and able to test itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from millrace.bundle import EXPLANATION, METRICS, PROVENANCE, REFERENCE, SELFTEST, SPLIT, load_bundle
from millrace.casting import cast
from millrace.evaluation import evaluate
from millrace.explanation import Importance
from millrace.features import encode_target
from millrace.leaderboard import Leaderboard
from millrace.metrics import Outcome
from millrace.packing import Training, pack
from millrace.promotion import baseline_predictions
from millrace.selection import CandidateResult
from millrace.splitting import SplitRecord, split
from tests.millrace.cases import Case, make_fitted


def training_of(case: Case) -> Training:
    """What a run of the training pipeline would pack."""
    problem, fitted = case.problem, make_fitted(case.problem.task, "lightgbm")
    training_rows, holdout, record = split(case.table, problem)
    target = encode_target(holdout["y"], problem)
    baseline = baseline_predictions(problem.task, case.rows.target, len(target), len(problem.classes))
    outcome = Outcome(problem, target, fitted.predict(holdout), fitted.threshold)
    evaluation = evaluate(holdout, outcome, baseline, resamples=100, confidence=0.9, seed=0)
    name = evaluation.metric_name
    result = CandidateResult(candidate="one", metric_name=name, folds=({name: 1.0}, {name: 2.0}), seconds=1)
    return Training(
        fitted=fitted,
        training_rows=training_rows,
        holdout_rows=holdout,
        evaluation=evaluation,
        leaderboard=Leaderboard(metric_name=name, results=(result,), baseline=result, reason="alone"),
        importance=[Importance(feature="size", value=1.0)],
        split=record,
        evaluation_plots={"residuals": b"\x89PNG"},
        explanation_plots={"importance": b"\x89PNG"},
        data_digest="0123456789abcdef" * 4,
        confidence=0.9,
    )


def packed(folder: Path, training: Training, reference_rows: int = 50, **provenance: Any) -> str:
    """Pack into a new folder and return the digest."""
    folder.mkdir()
    return pack(folder, training, provenance, reference_rows, seed=0)


def test_a_packed_bundle_holds_all_that_is_known_of_the_model(case: Case, tmp_path: Path) -> None:
    training = training_of(case)
    digest = packed(tmp_path / "bundle", training, run="1")
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.digest == digest
    assert SplitRecord.model_validate(bundle.read(SPLIT)) == training.split
    assert bundle.read(METRICS)["evaluation"] == training.evaluation.model_dump(mode="json")
    assert bundle.read(EXPLANATION) == [{"feature": "size", "value": 1.0}]
    assert bundle.read(PROVENANCE) == {"run": "1"}


def test_the_same_training_is_packed_as_the_same_bundle(case: Case, tmp_path: Path) -> None:
    training = training_of(case)
    assert packed(tmp_path / "one", training, run="1") == packed(tmp_path / "two", training, run="2")
    other = replace(training, data_digest="f" * 64)
    assert packed(tmp_path / "other", other) != packed(tmp_path / "three", training)


def test_the_selftest_is_repeated_by_the_loaded_model(case: Case, tmp_path: Path) -> None:
    packed(tmp_path / "bundle", training_of(case))
    bundle = load_bundle(tmp_path / "bundle")
    test = bundle.read(SELFTEST)
    import pyarrow as pa

    sent = [
        {"id": "x", "y": "low" if case.problem.task == "multiclass" else "1"} | row for row in test["rows"]
    ]
    typed = cast(pa.Table.from_pylist(sent), case.problem, "selftest")
    assert len(typed) == 20
    assert typed["_unreadable"].isna().all()
    np.testing.assert_array_equal(bundle.fitted.predict(typed), np.array(test["predictions"]))


@pytest.mark.parametrize("rows", [30, 10_000])
def test_the_reference_is_a_sample_of_holdout_rows_with_predictions(
    case: Case, tmp_path: Path, rows: int
) -> None:
    training = training_of(case)
    packed(tmp_path / "bundle", training, reference_rows=rows)
    reference = pd.read_parquet(tmp_path / "bundle" / REFERENCE)
    assert len(reference) == min(rows, len(training.holdout_rows))
    chances = [f"_probability_{name}" for name in case.problem.classes]
    assert list(reference.columns) == [*case.problem.inputs, "y", "_prediction", *chances]
    predicted = training.fitted.predict(reference)
    assert reference["_prediction"].tolist() == training.fitted.answers(predicted)
    if chances:
        np.testing.assert_array_equal(reference[chances].to_numpy(), predicted)
