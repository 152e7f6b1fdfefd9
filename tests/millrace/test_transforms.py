"""Declared transforms: what they compute, leak nothing, and are the same row by row."""

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as run
from hypothesis import strategies as st
from pydantic import ValidationError

from millrace.bundle import FittedModel
from millrace.contract import Problem, Task
from millrace.errors import UserError
from millrace.features import FeatureState
from millrace.models import TrainingRows, fit_model
from millrace.splitting import parts
from tests.millrace.cases import TASKS, fit, make_problem, make_table, settings

PLACES = {"here": [0, 0], "there": [0, 90]}
EVERY: list[dict[str, Any]] = [
    {"kind": "ratio", "name": "size a floor", "of": "size", "to": "floor"},
    {"kind": "product", "name": "all floors", "of": "size", "by": "floor"},
    {"kind": "log", "of": "size"},
    {"kind": "bins", "of": "size", "count": 4},
    {"kind": "bins", "of": "floor", "edges": [0, 5]},
    {"kind": "date_parts", "of": "built", "parts": ["year", "month", "day", "day_of_week", "hour"]},
    {"kind": "target_encoding", "of": "kind"},
    {"kind": "target_encoding", "of": "lift", "smoothing": 0},
    {"kind": "rotated_coordinates", "latitude": "size", "longitude": "floor"},
    {"kind": "distances", "latitude": "size", "longitude": "floor", "places": PLACES},
    {
        "kind": "neighbours",
        "by": {"size": 1, "floor": 0.5},
        "counts": [1, 3, 500],
        "means": ["floor", "all floors"],
        "target": True,
    },
]


def problem_with(*transforms: dict[str, Any], task: Task = "regression", **changes: Any) -> Problem:
    return make_problem(task, transforms=list(transforms), **changes)


def made(transform: dict[str, Any], **row: Any) -> dict[str, float]:
    """The columns that one transform, fitted on the sample table, makes of a row."""
    rows = TrainingRows.of(make_table(), problem_with(transform))
    blank = {"size": None, "floor": None, "kind": None, "lift": None, "built": None}
    matrix = rows.state.transform({name: [value] for name, value in (blank | row).items()})
    return dict(zip(rows.state.names[5:], matrix[0, 5:].tolist(), strict=True))


def test_what_is_made_is_known_by_the_columns_of_the_contract_it_is_made_from() -> None:
    chained = {"kind": "ratio", "name": "again", "of": "size a floor", "to": "size"}
    state = TrainingRows.of(make_table(), problem_with(*EVERY, chained)).state
    assert set(state.made_from) == {made.name for made in state.made}
    assert state.made_from["size a floor"] == ("size", "floor")
    assert state.made_from["again"] == ("size", "floor")
    assert state.made_from["log of size"] == ("size",)
    # What near rows are like depends on where the row is, and on nothing else of its own.
    assert state.made_from["y of 3 nearest"] == ("size", "floor")


def test_ratio_product_and_log() -> None:
    assert made(EVERY[0], size=6, floor=4) == {"size a floor": 1.5}
    assert made(EVERY[1], size=6, floor=4) == {"all floors": 24}
    assert made(EVERY[2], size=np.e - 1) == {"log of size": pytest.approx(1)}
    for impossible in (made(EVERY[0], size=6, floor=0), made(EVERY[0], size=6), made(EVERY[2], size=-3)):
        assert np.isnan(list(impossible.values())).all()


def test_bins_are_categories() -> None:
    state = TrainingRows.of(make_table(), problem_with(EVERY[4], EVERY[3])).state
    assert state.made[0].categories == ("below 0", "0 to 5", "from 5")
    assert state.categorical == [2, 5, 6]
    found = [made(EVERY[4], floor=floor)["bin of floor"] for floor in (-1, 0, 4.9, 5)]
    assert found == [0, 1, 1, 2]
    assert np.isnan(made(EVERY[4])["bin of floor"])
    full = TrainingRows.of(make_table(), problem_with(EVERY[3])).matrix[:, 5]
    counts = np.unique(full[~np.isnan(full)], return_counts=True)[1]
    assert len(counts) == 4
    assert np.ptp(counts) <= 1


@given(st.datetimes(dt.datetime(1600, 1, 1), dt.datetime(2300, 1, 1)))
def test_date_parts_are_those_of_the_calendar(moment: dt.datetime) -> None:
    found = made(
        {**EVERY[5], "parts": ["year", "month", "day", "day_of_week", "day_of_year", "hour"]}, built=moment
    )
    expected = [
        moment.year,
        moment.month,
        moment.day,
        moment.weekday(),
        moment.timetuple().tm_yday,
        moment.hour,
    ]
    assert list(found.values()) == expected


def test_target_encoding_is_a_smoothed_mean() -> None:
    table = make_table()
    found = made(EVERY[6], kind="house")["mean y in kind"]
    members = table.loc[table["kind"] == "house", "y"]
    assert found == pytest.approx((members.sum() + 10 * table["y"].mean()) / (len(members) + 10))
    for unknown in (None, "castle"):
        assert made(EVERY[6], kind=unknown)["mean y in kind"] == pytest.approx(table["y"].mean())


def test_distances_are_great_circles() -> None:
    found = made(EVERY[9], size=0, floor=45)
    quarter = 6371.0088 * np.pi / 2
    assert found == {
        "distance to here": pytest.approx(quarter / 2),
        "distance to there": pytest.approx(quarter / 2),
    }
    assert made(EVERY[9], size=90, floor=12)["distance to there"] == pytest.approx(quarter)


def test_turned_coordinates_keep_their_length() -> None:
    found = np.array(list(made(EVERY[8], size=3, floor=4).values())).reshape(5, 2)
    np.testing.assert_allclose(np.hypot(*found.T), 5)
    assert len(np.unique(found.round(9))) == 10


def test_neighbours_are_what_a_plain_search_finds() -> None:
    table = make_table().dropna(subset=["size"]).reset_index(drop=True)
    transform = {"kind": "neighbours", "by": {"size": 1, "floor": 0.5}, "counts": [2, 7], "means": ["floor"]}
    state = TrainingRows.of(table, problem_with({**transform, "target": True})).state
    at = np.array([1.5, 3.0])
    apart = np.hypot(table["size"] - at[0], 0.5 * (table["floor"] - at[1])).to_numpy()
    own = np.hypot(
        np.subtract.outer(*[table["size"].to_numpy()] * 2),
        0.5 * np.subtract.outer(*[table["floor"].to_numpy()] * 2),
    )
    np.fill_diagonal(own, np.inf)
    soft = np.median(own.min(axis=1))
    row = {"size": [at[0]], "floor": [at[1]], "kind": [None], "lift": [None], "built": [None]}
    found = state.transform(row)[0, 5:]
    for count, (floor, target, distance) in zip((2, 7), found.reshape(2, 3), strict=True):
        near = np.argsort(apart)[:count]
        assert floor == pytest.approx(table["floor"][near].mean())
        assert target == pytest.approx(np.average(table["y"][near], weights=1 / (apart[near] + soft)))
        assert distance == pytest.approx(apart[near].max())


cells = st.fixed_dictionaries(
    {
        "size": st.none() | st.floats(-100, 100),
        "floor": st.integers(-3, 90),
        "kind": st.sampled_from(["flat", "house", "boat", "castle", None]),
        "lift": st.none() | st.booleans(),
        "built": st.none() | st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)),
    }
)


@pytest.mark.parametrize("task", TASKS)
@run(max_examples=20, deadline=None)
@given(st.lists(cells, min_size=2, max_size=12))
def test_row_by_row_is_as_in_a_batch_and_after_loading(task: Task, rows: list[dict[str, Any]]) -> None:
    state = TrainingRows.of(make_table(task), problem_with(*EVERY, task=task)).state
    again = FeatureState.model_validate_json(state.model_dump_json())
    batch = state.transform({name: [row[name] for row in rows] for name in rows[0]})
    for at, row in enumerate(rows):
        single = again.transform({name: [value] for name, value in row.items()})
        assert single.tobytes() == batch[[at]].tobytes()


def test_long_tables_are_as_their_parts() -> None:
    state = TrainingRows.of(make_table(), problem_with(*EVERY)).state
    table = make_table(rows=9000, seed=3)
    whole = state.transform(table)
    np.testing.assert_array_equal(whole[4000:4100], state.transform(table.iloc[4000:4100]))


LEARNING = [EVERY[1], EVERY[6], EVERY[7], EVERY[10]]


@pytest.mark.parametrize("task", TASKS)
def test_a_training_row_is_not_told_its_own_target(task: Task) -> None:
    """Another target for one row changes what is made for others, never for the row itself."""
    problem, table = problem_with(*LEARNING, task=task), make_table(task)
    before = TrainingRows.of(table, problem)
    same_part = parts(table, problem)
    for row in (0, 17, 100):
        target = table["y"].to_numpy().copy()
        target[row] = next(value for value in target if value != target[row])
        changed = table.assign(y=target)
        # The parts follow the rows' hashes: those of before keep the comparison to the target alone.
        after = TrainingRows._fitted(
            before.inputs, TrainingRows.of(changed, problem).target, problem, same_part
        )
        together = same_part == same_part[row]
        np.testing.assert_array_equal(after.matrix[together], before.matrix[together])
        assert (after.matrix[~together, 6:] != before.matrix[~together, 6:]).any()


def test_shuffled_labels_teach_nothing() -> None:
    """A model must not beat the mean on a target of pure noise, nor believe to do so in training.

    With a row's own target among its neighbours' it would fit noise and be worse than the mean.
    """
    rng = np.random.default_rng(5)
    table = make_table(rows=1500, seed=5).assign(
        y=rng.permutation(make_table(rows=1500, seed=5)["y"].to_numpy())
    )
    problem = problem_with(*LEARNING)
    rows = TrainingRows.of(table, problem)
    for column in rows.matrix[:, 6:].T:
        known = ~np.isnan(column)
        if np.std(column[known]) > 0:
            # Three standard errors of a correlation of independent columns.
            assert np.corrcoef(column[known], rows.target[known])[0, 1] < 3 / np.sqrt(known.sum())
    fit_rows, others = np.arange(1000), np.arange(1000, 1500)
    part = rows.take(fit_rows)
    fitted = FittedModel(problem, part.state, fit_model(settings("lightgbm"), part, seed=0, threads=1))
    error = np.sqrt(np.mean((fitted.predict(table.iloc[others]) - rows.target[others]) ** 2))
    plain = np.sqrt(np.mean((rows.target[fit_rows].mean() - rows.target[others]) ** 2))
    assert 0.97 * plain < error < 1.1 * plain


def test_in_a_split_by_time_the_later_rows_tell_the_earlier_nothing() -> None:
    table = make_table(rows=200).assign(floor=np.arange(200))
    problem = problem_with(*LEARNING, split={"by": "time", "column": "floor"})
    before = TrainingRows.of(table, problem)
    late = table["y"].where(table["floor"] < 100, table["y"] + 1000)
    after = TrainingRows.of(table.assign(y=late), problem)
    np.testing.assert_array_equal(after.matrix[:100], before.matrix[:100])
    assert np.isnan(before.matrix[:20, 6]).all()


def test_a_group_is_never_told_its_own_targets() -> None:
    table = make_table(rows=200).assign(floor=np.arange(200) // 10)
    problem = problem_with(*LEARNING, split={"by": "group", "column": "floor"})
    assert (pd.Series(parts(table, problem)).groupby(table["floor"]).nunique() == 1).all()
    before = TrainingRows.of(table, problem)
    mine = table["floor"] == 7
    after = TrainingRows.of(table.assign(y=table["y"].where(~mine, 99.0)), problem)
    np.testing.assert_array_equal(after.matrix[mine], before.matrix[mine])


def test_every_model_learns_from_them_and_is_loaded_the_same(kind: str, tmp_path: Path) -> None:
    problem, table = problem_with(*EVERY), make_table()
    rows = TrainingRows.of(table, problem)
    fitted = FittedModel(problem, rows.state, fit(kind, rows))
    fitted.save(tmp_path)
    assert FittedModel.load(tmp_path).predict(table).tobytes() == fitted.predict(table).tobytes()


@pytest.mark.parametrize(
    ("transform", "sentence"),
    [
        ({"kind": "log", "of": "sise"}, "transform 1 (log): Unknown column 'sise'. Did you mean 'size'"),
        ({"kind": "log", "of": "kind"}, "'kind' is category; it takes numeric columns"),
        ({"kind": "log", "of": "id"}, "nknown column 'id'"),
        ({"kind": "log", "of": "y"}, "nknown column 'y'"),
        ({"kind": "date_parts", "of": "size"}, "'size' is numeric; it takes datetime columns"),
        ({"kind": "target_encoding", "of": "floor"}, "it takes boolean or category columns"),
        (
            {"kind": "ratio", "name": "floor", "of": "size", "to": "floor"},
            "there is a column 'floor' already",
        ),
        ({"kind": "bins", "of": "size"}, "bins have either 'edges' or a 'count'"),
        ({"kind": "bins", "of": "size", "edges": [2, 1]}, "'edges' must rise"),
        ({"kind": "neighbours", "by": {"size": 0}}, "the weights in 'by' are above 0"),
        ({"kind": "neighbours", "by": {"size": 1}, "counts": [5, 1]}, "'counts' rise"),
        ({"kind": "neighbours", "by": {"size": 1}, "distance": False}, "need 'means'"),
        ({"kind": "logg", "of": "size"}, "logg"),
    ],
)
def test_what_is_refused(transform: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as raised:
        problem_with(transform)
    assert sentence in str(raised.value)


def test_a_transform_may_read_what_was_made_but_not_what_was_averaged() -> None:
    chained = problem_with(EVERY[0], {"kind": "log", "of": "size a floor"})
    assert TrainingRows.of(make_table(), chained).state.names[5:] == ["size a floor", "log of size a floor"]
    with pytest.raises(ValidationError, match="nknown column 'mean y in kind'"):
        problem_with(EVERY[6], {"kind": "log", "of": "mean y in kind"})


def test_what_neighbours_keep_is_bounded() -> None:
    transform = {"kind": "neighbours", "by": {"size": 1}, "max_points": 100, "target": True}
    state = TrainingRows.of(make_table(rows=900), problem_with(transform)).state
    assert len(state.transforms[0].learnt["points"]) == 100


def test_neighbours_by_a_column_without_values_are_refused() -> None:
    transform = {"kind": "neighbours", "by": {"size": 1, "floor": 1}}
    with pytest.raises(UserError, match="No training row has a value of 'size' and 'floor'"):
        TrainingRows.of(make_table().assign(size=np.nan), problem_with(transform))


def test_what_is_made_of_the_impossible_is_unknown() -> None:
    """A division by zero reaches the next transform as a gap, not as an infinite number."""
    ratio, bins = EVERY[0], {"kind": "bins", "of": "size a floor", "edges": [0, 1]}
    state = TrainingRows.of(make_table(), problem_with(ratio, bins)).state
    row = {"size": [3.0] * 2, "floor": [0, 1], "kind": [None] * 2, "lift": [None] * 2, "built": [None] * 2}
    np.testing.assert_array_equal(state.transform(row)[:, 5:], [[np.nan, np.nan], [3, 2]])


def test_neighbours_of_a_place_beyond_all_numbers_are_unknown() -> None:
    transform = {"kind": "neighbours", "by": {"size": 1e6, "floor": 1}, "target": True}
    state = TrainingRows.of(make_table(), problem_with(transform)).state
    assert np.isnan(state.expand(np.array([[1e305, 1.0, 0, 0, 0]]))[:, 5:]).all()
