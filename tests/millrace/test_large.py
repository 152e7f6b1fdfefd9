"""Training from rows on disk is training, whatever the table's length, and in bounded memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from millrace.casting import cast
from millrace.cleaning import clean
from millrace.contract import Problem, Task
from millrace.errors import UserError
from millrace.large import Bins, Stored, rows, store, train, training
from millrace.metrics import PRIMARY
from millrace.models import TrainingRows, fit_model
from millrace.models.boosting import LightGBMSettings
from millrace.sources import read
from millrace.sources.streams import find_parts
from tests.millrace.cases import TASKS, make_problem, make_table

SETTINGS = LightGBMSettings(n_estimators=20, learning_rate=0.1, num_leaves=8)
# Of what a row's own target gives away, and of what only its inputs do.
OUT_OF_FOLD = ({"kind": "target_encoding", "of": "kind"},)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the few rows here are many batches."""
    monkeypatch.setattr(rows, "BATCH", 130)
    monkeypatch.setattr(training, "BATCH", 130)


def kept(folder: Path, task: Task, limit: float = 0.05, **changes: Any) -> tuple[Stored, Problem]:
    """Two files of homes, some rows of which break the contract, stored."""
    problem = make_problem(task, **changes)
    for seed in (1, 2):
        table = make_table(task, rows=700, seed=seed)
        table["id"] = [f"{seed} {i}" for i in range(700)]
        table.loc[[3, 120], "size"] = 1e3
        path = folder / "in" / f"{seed}.parquet"
        path.parent.mkdir(exist_ok=True)
        table.to_parquet(path, index=False)
    parts = find_parts(str(folder / "in"), folder, problem.columns)
    return store(parts, problem, folder / "stored", limit), problem


def silver(folder: Path, problem: Problem) -> pd.DataFrame:
    """The same table, as training in memory has it."""
    raw = read(str(folder / "in"), folder, problem.columns).table
    return clean(cast(raw, problem, "homes"), problem, 0.05).silver


@pytest.mark.parametrize("task", TASKS)
def test_rows_are_those_of_training_in_memory(task: Task, tmp_path: Path) -> None:
    stored, problem = kept(tmp_path, task)
    table = silver(tmp_path, problem)
    held = stored.split.held_out(table, problem)
    assert stored.counts.quarantined == 4
    for side, mine in ((stored.training, ~held), (stored.holdout, held)):
        expected = TrainingRows.of(table[mine].reset_index(drop=True), problem)
        assert side.rows == mine.sum()
        np.testing.assert_array_equal(side.inputs(), expected.inputs)
        np.testing.assert_array_equal(side.target, expected.target)
        np.testing.assert_array_equal(side.parts, expected.parts)
        np.testing.assert_array_equal(side.inputs(100, 140), expected.inputs[100:140])
    assert 0.15 < held.mean() < 0.25
    assert (stored.split.training_rows, stored.split.holdout_rows) == ((~held).sum(), held.sum())


@pytest.mark.parametrize("task", TASKS)
def test_trees_are_those_of_training_in_memory(task: Task, tmp_path: Path) -> None:
    stored, problem = kept(tmp_path, task)
    found = train(stored, SETTINGS, folds=2, seed=3, threads=2)
    table = silver(tmp_path, problem)
    expected = TrainingRows.of(table[~stored.split.held_out(table, problem)].reset_index(drop=True), problem)
    model = fit_model(SETTINGS, expected, seed=3, threads=1)
    inputs = stored.holdout.inputs()
    np.testing.assert_array_equal(
        found.fitted.model.predict(found.fitted.state.expand(inputs)),
        model.predict(expected.state.expand(inputs)),
    )
    metric = PRIMARY[task]
    assert [set(fold) >= {metric} for fold in found.validated.folds] == [True, True]
    assert found.holdout[metric] == pytest.approx(found.validated.metric, rel=0.3)
    low, high = found.fitted.bounds(np.array([0.5]), 0.8)[0] if task == "regression" else (0, 1)
    assert -3 < low < high < 4


def test_bins_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored, _ = kept(tmp_path, "regression")
    made = Bins.of(stored.training)

    def never(_: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(Bins, "_made", never)
    again = Bins.of(stored.training)
    assert again.state == made.state
    assert again.dataset().construct().num_data() == stored.training.rows


def test_rows_that_features_were_learnt_from_are_not_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "LEARNT", 200)
    stored, _ = kept(tmp_path, "regression", transforms=OUT_OF_FOLD)
    bins = Bins.of(stored.training)
    learners = stored.training.rows - len(bins.used)
    assert 100 < learners <= 200
    found = train(stored, SETTINGS, folds=2, seed=0, threads=1)
    assert found.fitted.state.made
    assert found.holdout["rmse"] < 0.8


REFUSED: list[tuple[Callable[[Path], object], str]] = [
    (lambda folder: kept(folder, "regression", limit=0.001), "4 of 1,400 rows break the contract"),
    (lambda folder: kept(folder, "regression", split={"by": "time", "column": "floor"}), "by time"),
    (lambda folder: train(kept(folder, "regression")[0], SETTINGS, folds=11, seed=0, threads=1), "11 folds"),
]


@pytest.mark.parametrize(("do", "expected"), REFUSED, ids=[expected for _, expected in REFUSED])
def test_what_cannot_be_is_refused(do: Callable[[Path], object], expected: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=expected):
        do(tmp_path)
