"""The holdout: the same rows wherever they stand, whatever stands beside them."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.contract import Problem, Task
from millrace.errors import UserError
from millrace.splitting import SplitRecord, split
from tests.millrace.cases import FEATURES, TARGETS, TASKS, Case, make_problem, make_table

tasks = st.sampled_from(TASKS)


def held_keys(table: pd.DataFrame, problem: Problem) -> set[str]:
    """The keys of the rows that a split holds out."""
    return set(split(table, problem)[1]["id"])


@settings(max_examples=20)
@given(tasks, st.integers(0, 9), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_change_which_are_held_out(task: Task, seed: int, random: Any) -> None:
    problem, table = make_problem(task, split={"seed": seed}), make_table(task, rows=60)
    shuffled = table.iloc[random.sample(range(len(table)), len(table))]
    assert held_keys(shuffled.reset_index(drop=True), problem) == held_keys(table, problem)
    assert held_keys(shuffled, problem) == held_keys(table, problem)


@given(tasks, st.integers(5, 200), st.floats(0.01, 0.89), st.integers())
def test_the_record_reproduces_the_split(task: Task, rows: int, holdout: float, seed: int) -> None:
    problem, table = make_problem(task, split={"holdout": holdout, "seed": seed}), make_table(task, rows=rows)
    if problem.classes and table["y"].value_counts().min() < 2:
        return
    training, held, record = split(table, problem)
    again = SplitRecord.model_validate_json(record.model_dump_json())
    mask = again.held_out(table, problem)
    pd.testing.assert_frame_equal(table[mask].reset_index(drop=True), held)
    pd.testing.assert_frame_equal(table[~mask].reset_index(drop=True), training)
    assert (record.training_rows, record.holdout_rows) == (len(training), len(held))
    sizes = table.groupby("y").size() if problem.classes else pd.Series([rows])
    assert len(held) == sum(min(max(round(holdout * size), 1), size - 1) for size in sizes)
    assert not again.held_out(training, problem).any()
    assert again.held_out(held, problem).all()


def test_a_grown_table_keeps_the_side_of_the_rows_it_had(case: Case) -> None:
    old, grown = make_table(case.problem.task, rows=2000), make_table(case.problem.task, rows=2000)
    fresh = make_table(case.problem.task, rows=2000, seed=1).assign(id=lambda t: "new " + t["id"])
    grown = pd.concat([fresh, old], ignore_index=True)
    record = split(old, case.problem)[2]
    held = grown["id"][record.held_out(grown, case.problem)]
    assert {name for name in held if not name.startswith("new ")} == held_keys(old, case.problem)
    assert 0.1 < sum(name.startswith("new ") for name in held) / len(fresh) < 0.3


def test_a_new_split_of_a_grown_table_moves_few_of_the_old_rows(case: Case) -> None:
    old = make_table(case.problem.task, rows=2000)
    more = make_table(case.problem.task, rows=400, seed=1).assign(id=lambda t: "new " + t["id"])
    before = held_keys(old, case.problem)
    after = held_keys(pd.concat([old, more], ignore_index=True), case.problem)
    after = {name for name in after if not name.startswith("new ")}
    # Thresholds move by the noise of a share: about sqrt(0.2 * 0.8 / 2400) of all rows.
    assert len(before ^ after) < 0.04 * len(old)
    # A split that forgot the old one would keep one in five.
    assert len(before & after) > 0.85 * len(before)


def test_the_share_is_met_in_every_class(case: Case) -> None:
    training, held, record = split(case.table, case.problem)
    assert record.holdout_rows == len(held)
    assert len(training) + len(held) == len(case.table)
    for name in case.problem.classes or [None]:
        everything, part = (
            table if name is None else table[table["y"].astype(str).str.lower() == name]
            for table in (case.table, held)
        )
        assert len(part) == round(0.2 * len(everything))


def test_another_seed_holds_out_other_rows() -> None:
    table = make_table(rows=200)
    kept = [held_keys(table, make_problem(split={"seed": seed})) for seed in (0, 1)]
    assert len(kept[0] & kept[1]) < 0.5 * len(kept[0])


def test_the_target_does_not_decide_which_rows_are_held_out() -> None:
    table = make_table(rows=4000)
    _, held, _ = split(table, make_problem())
    spread = table["y"].std() / np.sqrt(len(held))
    assert abs(held["y"].mean() - table["y"].mean()) < 4 * spread


@pytest.mark.parametrize("smallest", [2, 3, 4])
def test_a_tiny_class_stands_on_both_sides(smallest: int) -> None:
    target = ["low"] * 50 + ["middle"] * 50 + ["high"] * smallest
    training, held, _ = split(make_table(rows=len(target)).assign(y=target), make_problem("multiclass"))
    assert set(held["y"]) == set(training["y"]) == {"low", "middle", "high"}


def test_a_class_of_one_row_is_refused() -> None:
    target = ["low"] * 5 + ["middle"] * 5 + ["high"]
    with pytest.raises(UserError, match="the class 'high' has a single usable row"):
        split(make_table(rows=11).assign(y=target), make_problem("multiclass"))


def test_a_table_of_one_row_is_refused_and_of_two_is_halved() -> None:
    with pytest.raises(UserError, match="the table has a single usable row"):
        split(make_table(rows=1), make_problem())
    training, held, _ = split(make_table(rows=2), make_problem())
    assert (len(training), len(held)) == (1, 1)


def test_a_class_that_the_record_does_not_know_moves_no_other_row() -> None:
    problem, table = make_problem("multiclass"), make_table("multiclass", rows=400)
    known = table[table["y"] != "high"].reset_index(drop=True)
    record = split(known, problem)[2]
    # The thresholds are the hashes of rows just outside: a rounded one would take them in.
    assert set(table["id"][record.held_out(table, problem)]) == set(
        known["id"][record.held_out(known, problem)]
    )


def test_a_class_may_have_any_name() -> None:
    target = TARGETS["multiclass"] | {"categories": ["ja; nein", "größer", "x"]}
    problem = make_problem("multiclass", target=target)
    table = make_table(rows=30).assign(y=["ja; nein", "größer", "x"] * 10)
    record = split(table, problem)[2]
    assert set(record.thresholds) == {"ja; nein", "größer", "x"}


def split_by(by: str, column: str, task: Task = "regression", **more: Any) -> Problem:
    """A problem whose holdout goes by a column, which is never null."""
    features = FEATURES | {column: FEATURES[column] | {"nullable": False}}
    return make_problem(task, features=features, key=None, split={"by": by, "column": column, **more})


@given(
    tasks,
    st.lists(st.integers(0, 40), min_size=2, max_size=80),
    st.floats(0.01, 0.89),
    st.sampled_from([("group", "id"), ("group", "floor"), ("time", "floor"), ("time", "built")]),
)
def test_neither_a_group_nor_a_moment_is_on_both_sides(
    task: Task, values: list[int], holdout: float, rule: tuple[str, str]
) -> None:
    by, column = rule
    cells: dict[str, Any] = {
        "id": [f"group {value}" for value in values],
        "floor": np.array(values, dtype=float),
        "built": np.datetime64("1969-12-20", "us") + np.array(values) * 10**11,
    }
    table = make_table(task, rows=len(values)).assign(**{column: cells[column]})
    problem = split_by(by, column, task, holdout=holdout)
    if len(set(values)) < 2:
        with pytest.raises(UserError, match=f"a single usable {'group' if by == 'group' else 'moment'}"):
            split(table, problem)
        return
    training, held, record = split(table, problem)
    assert len(training) + len(held) == len(table)
    assert len(training) > 0 < len(held)
    assert not set(training[column]) & set(held[column])
    if by == "time":
        assert training[column].max() < held[column].min()
    # No other boundary between two values comes nearer to the share that was asked for.
    sizes = table.groupby(column).size()
    assert abs(len(held) - holdout * len(table)) <= sizes.max() + 1
    again = SplitRecord.model_validate_json(record.model_dump_json())
    assert not again.held_out(training, problem).any()
    assert again.held_out(held, problem).all()
    single = [bool(again.held_out(table.iloc[[row]], problem)[0]) for row in range(len(table))]
    np.testing.assert_array_equal(single, again.held_out(table, problem))


def test_a_group_stays_on_its_side_whatever_its_rows_hold() -> None:
    problem = split_by("group", "id")
    table = make_table(rows=300).assign(id=[f"group {i % 30}" for i in range(300)])
    record = split(table, problem)[2]
    other = make_table(rows=300, seed=5).assign(id=table["id"])
    np.testing.assert_array_equal(record.held_out(other, problem), record.held_out(table, problem))


def test_a_row_later_than_the_training_is_unknown_to_it_also_in_a_grown_table() -> None:
    problem = split_by("time", "floor")
    old = make_table(rows=100).assign(floor=np.arange(100.0))
    record = split(old, problem)[2]
    assert record.trained_until == 79.0
    grown = make_table(rows=150).assign(floor=np.arange(150.0))
    _, held, later = split(grown, problem)
    assert later.trained_until == 119.0
    assert record.held_out(held, problem).all()


def test_the_rule_is_told_in_words() -> None:
    table = make_table(rows=100).assign(
        built=np.datetime64("2020-01-01", "us") + np.arange(100) * 86_400_000_000
    )
    assert split(table, make_problem())[2].sentence(make_problem()) == "20% of the rows, by the hash of each"
    problem = split_by("group", "id")
    assert split(table, problem)[2].sentence(problem) == "20% of the groups, by the hash of 'id'"
    problem = split_by("time", "built")
    assert split(table, problem)[2].sentence(problem) == "the rows whose 'built' is after 2020-03-20 00:00:00"


def test_a_record_of_before_there_were_other_rules_is_one_by_rows() -> None:
    table = make_table(rows=100)
    record = split(table, make_problem())[2]
    old = record.model_dump(mode="json", exclude={"by", "column", "trained_until"})
    assert SplitRecord.model_validate(old) == record
