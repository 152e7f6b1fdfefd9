"""Training from rows on disk is training, whatever the table's length, and in bounded memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from millrace.casting import cast
from millrace.cleaning import REASON, clean
from millrace.contract import Problem, Task
from millrace.digests import mix, row_digests, table_digest
from millrace.errors import UserError
from millrace.large import Bins, Stored, cross_validate, rows, store, train, training
from millrace.large.drawing import Draw
from millrace.large.search import StoredSearch
from millrace.large.training import grow_here, known_folds, make_folds
from millrace.metrics import PRIMARY, compute_metrics
from millrace.models import TrainingRows, fit_model
from millrace.models.boosting import LightGBMModel, LightGBMSettings
from millrace.selection import read_out_of_fold
from millrace.sources import Source, read
from millrace.sources.streams import find_parts, find_size
from millrace.tuning import Space, Tuning, TuningResult, tune
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


@pytest.mark.parametrize("task", TASKS)
def test_what_is_said_of_the_whole_table_is_as_if_it_had_been_in_memory(task: Task, tmp_path: Path) -> None:
    stored, problem = kept(tmp_path, task)
    raw = read(str(tmp_path / "in"), tmp_path, problem.columns).table
    bronze = cast(raw, problem, "homes")
    cleaned = clean(bronze, problem, 0.05)
    assert stored.digest == table_digest(bronze)
    assert stored.counts == cleaned.counts
    assert stored.account("local").drawn_training == stored.training.rows
    held = stored.split.held_out(cleaned.silver, problem)
    for drawn, expected in (
        (stored.drawn.training, cleaned.silver[~held]),
        (stored.drawn.holdout, cleaned.silver[held]),
        (stored.drawn.quarantine, cleaned.quarantine),
    ):
        names = [*problem.columns, REASON][: expected.shape[1]]
        ours, theirs = (table.sort_values("id")[names].reset_index(drop=True) for table in (drawn, expected))
        pd.testing.assert_frame_equal(ours, theirs)


@given(
    values=st.lists(st.integers(0, 50), min_size=1, max_size=200),
    size=st.integers(1, 30),
    cut=st.integers(1, 40),
    seed=st.integers(0, 9),
)
def test_the_same_different_rows_are_drawn_in_whatever_order_they_come(
    values: list[int], size: int, cut: int, seed: int
) -> None:
    table = pd.DataFrame({"value": np.array(values, dtype=np.float64)})

    def drawn(rows: pd.DataFrame, at_once: int) -> list[float]:
        draw = Draw(size)
        for start in range(0, len(rows), at_once):
            part = rows.iloc[start : start + at_once]
            draw.add(part, mix(row_digests(part), seed))
        return list(draw.rows()["value"])

    found = drawn(table, cut)
    assert found == drawn(table.sample(frac=1, random_state=seed), len(table))
    assert len(found) == len(set(found)) == min(size, len(set(values)))
    by_hash = dict(zip(mix(row_digests(table), seed).tolist(), values, strict=True))
    assert found == [by_hash[key] for key in sorted(by_hash)[:size]]


def test_a_row_is_drawn_as_often_as_any_other() -> None:
    table = pd.DataFrame({"value": np.arange(40_000.0)})
    draw = Draw(4_000)
    for start in range(0, len(table), 1_000):
        part = table.iloc[start : start + 1_000]
        draw.add(part, mix(row_digests(part), 2))
    # 1,000 expected in each quarter, with a deviation of 26.
    quarters = np.bincount((draw.rows()["value"] // 10_000).astype(int))
    assert len(draw.rows()) == 4_000
    assert quarters.min() > 880
    assert quarters.max() < 1_120


@pytest.mark.parametrize("task", TASKS)
def test_each_row_is_scored_by_trees_that_have_not_seen_it(task: Task, tmp_path: Path) -> None:
    stored, problem = kept(tmp_path, task)
    bins = Bins.of(stored.training)
    seen: list[set[int]] = []

    def grow(rows: NDArray[np.int32], settings: LightGBMSettings, seed: int) -> LightGBMModel:
        seen.append(set(rows.tolist()))
        return grow_here(bins, 1)(rows, settings, seed)

    result, table = cross_validate("trees", SETTINGS, make_folds(bins, grow, 3), seed=0)
    assert table["row"].tolist() == list(range(stored.training.rows))
    np.testing.assert_array_equal(table["target"], stored.training.target)
    for number, (fitted, scored) in enumerate(known_folds(table, 3)):
        assert seen[number] == set(fitted.tolist())
        assert set(table["fold"].iloc[scored]) == {number}
        own = compute_metrics(read_out_of_fold(table.iloc[scored], problem))
        assert result.folds[number] == own


def test_trials_are_of_the_same_bins_and_go_on_where_they_were(tmp_path: Path) -> None:
    stored, _ = kept(tmp_path, "regression")
    bins = Bins.of(stored.training)
    folds = make_folds(bins, grow_here(bins, 1), 3)[-2:]
    space = {"num_leaves": Space(low=2, high=31)}
    search = StoredSearch.of("trees", SETTINGS, space, folds, seed=0, code="code")

    def searched(trials: int, folder: Path) -> TuningResult:
        return tune(search, Tuning(trials=trials), storage=folder, threads=1, report=lambda *_: None)

    searched(2, tmp_path)
    found = searched(4, tmp_path)
    assert [trial.scores for trial in found.trials] == [
        trial.scores for trial in searched(4, tmp_path / "once").trials
    ]
    assert found.hand_set.parameters == {"num_leaves": SETTINGS.num_leaves}
    # What a trial is scored by is what cross-validation finds.
    result, _ = cross_validate("trees", SETTINGS, folds, seed=0)
    assert list(found.hand_set.scores) == result.scores
    assert StoredSearch.of("trees", SETTINGS, space, folds[:1], seed=0, code="code").name != search.name


def test_the_size_of_a_table_is_told_by_its_files(tmp_path: Path) -> None:
    kept(tmp_path, "regression")
    columns = make_problem("regression").columns
    folder, whole = tmp_path / "in", 8 * 1400 * len(columns)

    def size(uri: object, enough: int = 10**9) -> int:
        return find_size(Source(uri=str(uri)), columns, enough)

    assert size(folder) == size(folder / "*.parquet") == whole
    assert size(folder / "1.parquet") == size(folder, enough=1) == whole // 2
    text = tmp_path / "table.csv"
    pd.read_parquet(folder / "1.parquet").to_csv(text, index=False)
    assert size(text) == text.stat().st_size
    assert size("sample://housing") == size("postgresql://host/base#table") == 0
    with pytest.raises(UserError, match="nowhere"):
        size(tmp_path / "nowhere.parquet")


REFUSED: list[tuple[Callable[[Path], object], str]] = [
    (lambda folder: kept(folder, "regression", limit=0.001), "4 of 1,400 rows break the contract"),
    (lambda folder: kept(folder, "regression", split={"by": "time", "column": "floor"}), "by time"),
    (lambda folder: train(kept(folder, "regression")[0], SETTINGS, folds=11, seed=0, threads=1), "11 folds"),
]


@pytest.mark.parametrize(("do", "expected"), REFUSED, ids=[expected for _, expected in REFUSED])
def test_what_cannot_be_is_refused(do: Callable[[Path], object], expected: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=expected):
        do(tmp_path)
