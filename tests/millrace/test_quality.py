"""The suites: each kind of broken table fails the check that is meant for it, in a sentence."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from millrace.casting import UNREADABLE
from millrace.contract import Task
from millrace.errors import UserError
from millrace.features import FeatureState
from millrace.models import TrainingRows
from millrace.quality import (
    GOLD_TARGET,
    Check,
    Engine,
    Report,
    Suite,
    bronze_suite,
    gold_suite,
    leakage_suite,
    leakage_table,
    require,
    run_suite,
    shown_range,
    silver_suite,
)
from tests.millrace.cases import FEATURES, TASKS, Case, make_case, make_problem, make_table

PROBLEM = make_problem()
ENGINES: tuple[Engine, ...] = ("Great Expectations", "polars")


def failed(table: pd.DataFrame, suite: Suite) -> dict[tuple[str | None, str], Check]:
    """The failed checks, by column and rule, after both engines have agreed on all of them."""
    checks = run_suite(table, suite, "test", "Great Expectations")
    assert run_suite(table, suite, "test", "polars") == checks
    assert len(checks) == len(suite)
    return {(check.column, check.rule.removeprefix("expect_")): check for check in checks if not check.passed}


def bronze(task: Task = "regression", rows: int = 100, **changes: Any) -> pd.DataFrame:
    """A good bronze table with some columns changed."""
    return make_table(task, rows).assign(**{UNREADABLE: None}).assign(**changes)


def gold(case: Case, **changes: Any) -> pd.DataFrame:
    """A case's matrix with its target, and some columns changed."""
    table = pd.DataFrame(case.rows.matrix, columns=case.state.names)
    return table.assign(**{GOLD_TARGET: case.rows.target}).assign(**changes)


@pytest.mark.parametrize("task", TASKS)
def test_a_good_table_passes_every_check_of_every_layer(task: Task) -> None:
    case = make_case(task)
    assert failed(bronze(task), bronze_suite(case.problem, 10, 0.05)) == {}
    assert failed(case.table, silver_suite(case.problem)) == {}
    assert failed(gold(case), gold_suite(case.state)) == {}
    assert failed(leakage_table(gold(case)), leakage_suite(case.state)) == {}


@pytest.mark.parametrize(
    ("changes", "column", "rule", "sentence"),
    [
        ({}, None, "table_row_count_to_be_between", "the table should have at least 101 rows (found: 100)."),
        (
            {"spare": 1},
            None,
            "table_columns_to_match_set",
            "the table should have the contract's columns (found: ",
        ),
        (
            {UNREADABLE: ["size: 'x' is not a number"] * 6 + [None] * 94},
            UNREADABLE,
            "column_values_to_be_null",
            "unreadable cells: 6 of 100 rows (6.0%) do not, for example size: 'x' is not a number.",
        ),
        (
            {"floor": [np.nan] * 6 + [1.0] * 94},
            "floor",
            "column_values_to_not_be_null",
            "column 'floor' should have no missing or unreadable value: 6 of 100 rows (6.0%) do not",
        ),
        (
            {"size": "1"},
            "size",
            "column_values_to_be_of_type",
            "column 'size' should be of type float64",
        ),
        (
            {"kind": 1.5},
            "kind",
            "column_values_to_be_of_type",
            "column 'kind' should be of type str (found: float64).",
        ),
        ({"lift": 1.0}, "lift", "column_values_to_be_of_type", "should be of type bool (found: float64)."),
        (
            {"built": "2020"},
            "built",
            "column_values_to_be_of_type",
            "column 'built' should be of type datetime64",
        ),
        (
            {"size": np.nan},
            "size",
            "column_unique_value_count_to_be_between",
            "column 'size' should hold a value at all (found: 0).",
        ),
    ],
)
def test_a_broken_bronze_table_fails_its_check(
    changes: dict[str, Any], column: str | None, rule: str, sentence: str
) -> None:
    found = failed(bronze(**changes), bronze_suite(PROBLEM, 100 if changes else 101, 0.05))
    assert list(found) == [(column, rule)]
    assert sentence in found[column, rule].sentence
    assert found[column, rule].severity == "critical"


def test_a_few_bad_rows_are_left_to_the_cleaning() -> None:
    few: dict[str, Any] = {"floor": [np.nan] * 5 + [1.0] * 95, UNREADABLE: ["bad"] * 5 + [None] * 95}
    assert failed(bronze(**few), bronze_suite(PROBLEM, 100, 0.05)) == {}


def changed(row: int, **values: Any) -> pd.DataFrame:
    """A good silver table with cells of one row changed."""
    table = make_table(rows=100)
    for name, value in values.items():
        table.loc[row, name] = value
    return table


@pytest.mark.parametrize(
    ("table", "column", "rule", "sentence"),
    [
        (
            changed(3, size=100.5),
            "size",
            "column_values_to_be_between",
            "lie in -100 to 100 m2: 1 of 100 rows (1.0%) do not, for example 100.5.",
        ),
        (
            changed(3, floor=np.inf),
            "floor",
            "column_values_to_be_between",
            "lie in -infinity to infinity: 1 of 100 rows (1.0%) do not, for example Infinity.",
        ),
        (
            changed(3, floor=np.nan),
            "floor",
            "column_values_to_not_be_null",
            "have no missing value: 1 of 100 rows (1.0%) do not, for example null.",
        ),
        (
            changed(3, kind="castle"),
            "kind",
            "column_values_to_be_in_set",
            "be one of flat, house, boat: 1 of 100 rows (1.0%) do not, for example castle.",
        ),
        (
            changed(3, id="home 4"),
            "id",
            "column_values_to_be_unique",
            "identify each row: 2 of 100 rows (2.0%) do not, for example home 4.",
        ),
        (
            make_table(rows=100).assign(y=1.0),
            "y",
            "column_unique_value_count_to_be_between",
            "hold at least two different values (found: 1).",
        ),
    ],
)
def test_a_broken_silver_table_fails_its_check(
    table: pd.DataFrame, column: str, rule: str, sentence: str
) -> None:
    found = failed(table, silver_suite(PROBLEM))
    assert list(found) == [(column, rule)]
    assert found[column, rule].sentence == f"column '{column}' should {sentence}"


def test_a_row_that_is_there_twice_fails_both_uniqueness_checks() -> None:
    table = make_table(rows=50)
    found = failed(pd.concat([table, table.head(1)], ignore_index=True), silver_suite(PROBLEM))
    assert list(found) == [(None, "compound_columns_to_be_unique"), ("id", "column_values_to_be_unique")]
    assert found[None, "compound_columns_to_be_unique"].sentence.startswith(
        "the table should hold no row twice: 2 of 51 rows (3.9%) do not, for example "
    )


def test_a_single_class_is_not_enough() -> None:
    found = failed(make_table("multiclass", 50).assign(y="low"), silver_suite(make_problem("multiclass")))
    (check,) = found.values()
    assert check.sentence == "column 'y' should hold at least two classes (found: 1)."


def test_samples_are_different_values_few_and_short() -> None:
    table = make_table(rows=100).assign(kind=[f"{'x' * 80} {i % 7}" for i in range(100)])
    (check,) = failed(table, silver_suite(PROBLEM)).values()
    assert check.unexpected == check.rows == 100
    assert 0 < len(check.samples) <= 5
    assert all(len(sample) == 60 for sample in check.samples)


@pytest.mark.parametrize(
    ("changes", "column", "rule", "severity"),
    [
        ({"id": "a"}, None, "table_columns_to_match_set", "critical"),
        ({"size": np.inf}, "size", "column_values_to_be_between", "critical"),
        ({GOLD_TARGET: np.nan}, GOLD_TARGET, "column_values_to_not_be_null", "critical"),
        ({"size": 1.0}, "size", "column_unique_value_count_to_be_between", "warning"),
    ],
)
def test_a_broken_gold_table_fails_its_check(
    changes: dict[str, Any], column: str | None, rule: str, severity: str
) -> None:
    case = make_case("regression")
    found = failed(gold(case, **changes), gold_suite(case.state))
    assert found[column, rule].severity == severity


def leaking(table: pd.DataFrame) -> list[str | None]:
    """The columns of a gold table that give the target away."""
    names = [name for name in table.columns if name != GOLD_TARGET]
    inputs = tuple({"name": name, "kind": "numeric", "fill": 0.0} for name in names)
    state = FeatureState.model_validate({"inputs": inputs})
    found = failed(leakage_table(table), leakage_suite(state))
    assert all(check.severity == "critical" for check in found.values())
    return [column for column, _ in found]


def test_the_target_in_disguise_is_caught() -> None:
    case = make_case("regression")
    target = case.rows.target
    assert leaking(gold(case, size=target * 3 - 1)) == ["size"]
    assert leaking(gold(case, size=-np.exp(target))) == ["size"]
    # Rows that lack the leaking value must not hide it, wherever on the target's scale they are.
    assert leaking(gold(case, size=np.where(target < np.median(target), np.nan, target))) == ["size"]
    noise = np.random.default_rng(0).random(len(target)) < 0.9
    assert leaking(gold(case, size=np.where((target < 0) & noise, np.nan, target))) == ["size"]


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_the_class_in_disguise_is_caught(task: Task) -> None:
    case = make_case(task)
    assert leaking(gold(case, lift=1 - case.rows.target)) == ["lift"]


def test_a_good_feature_a_constant_and_an_empty_column_are_no_leak() -> None:
    case = make_case("regression")
    noise = np.random.default_rng(0).normal(scale=0.2, size=len(case.rows.target))
    table = gold(case, size=case.rows.target + noise, floor=1.0, kind=np.nan)
    assert 0.9 < leakage_table(table)["size"].iloc[0] < 0.999
    assert leaking(table) == []


def test_a_feature_that_is_hardly_ever_known_is_no_leak() -> None:
    case = make_case("regression")
    for known, leaks in ((2, []), (29, []), (30, ["size"])):
        size = np.where(np.arange(len(case.rows.target)) < known, case.rows.target, np.nan)
        assert leaking(gold(case, size=size)) == leaks


@pytest.mark.filterwarnings("ignore")
def test_an_expectation_that_nobody_knows_is_not_dropped_in_silence() -> None:
    unknown = {"type": "expect_nonsense", "kwargs": {}, "severity": "critical", "meta": {"expected": "x"}}
    with pytest.raises(RuntimeError, match=r"evaluated 17 of 18 checks of bronze"):
        run_suite(bronze(), [*bronze_suite(PROBLEM, 1, 0.05)[:17], unknown], "bronze", "Great Expectations")
    with pytest.raises(RuntimeError, match="polars does not know expect_nonsense of bronze"):
        run_suite(bronze(), [unknown], "bronze", "polars")


@pytest.mark.parametrize("engine", ENGINES)
def test_an_expectation_that_cannot_be_evaluated_is_no_failure_of_the_data(engine: Engine) -> None:
    with pytest.raises(RuntimeError, match="could not evaluate"):
        run_suite(make_table(rows=9).drop(columns="size"), silver_suite(PROBLEM), "silver", engine)


def test_failures_stop_the_run_and_warnings_do_not() -> None:
    def check(severity: str, passed: bool) -> Check:
        return Check(
            rule="r",
            column="a",
            expected="be good",
            severity=severity,
            passed=passed,
            unexpected=1,
            rows=4,
            samples=("7",),
        )

    fine = Report(layer="gold", checks=(check("critical", True), check("warning", False)))
    assert (len(fine.failures), len(fine.warnings)) == (0, 1)
    require(fine, "homes")
    bad = Report(layer="gold", checks=(check("critical", False), check("critical", False)))
    with pytest.raises(UserError) as caught:
        require(bad, "homes")
    assert str(caught.value) == (
        "homes: 2 gold check(s) failed, nothing was trained:\n"
        "  - column 'a' should be good: 1 of 4 rows (25.0%) do not, for example 7.\n"
        "  - column 'a' should be good: 1 of 4 rows (25.0%) do not, for example 7."
    )


def test_columns_of_any_name_are_checked() -> None:
    names = ["größe [m²]", "大きさ", "a.b", "it's", "$PARAMETER"]
    problem = make_problem(features={name: {"type": "number", "range": [0, 1]} for name in names}, key=None)
    table = pd.DataFrame({name: np.linspace(0, 1, 9) for name in names} | {"y": np.arange(9.0)})
    assert failed(table, silver_suite(problem)) == {}
    assert [column for column, _ in failed(table * 2, silver_suite(problem))] == names
    state = TrainingRows.of(table, problem).state
    assert failed(table.rename(columns={"y": GOLD_TARGET}), gold_suite(state)) == {}


@pytest.mark.parametrize(
    ("bounds", "unit", "shown"),
    [
        ([0, 1.5], "m", "0 to 1.5 m"),
        ([None, 1], "", "-infinity to 1"),
        ([0, None], "", "0 to infinity"),
        (None, "", "-infinity to infinity"),
    ],
)
def test_a_range_is_written_as_people_do(bounds: Any, unit: str, shown: str) -> None:
    problem = make_problem(features=FEATURES | {"size": {"type": "number", "range": bounds, "unit": unit}})
    assert shown_range(problem.features["size"]) == shown


def test_an_unseen_category_that_counts_as_missing_is_a_warning() -> None:
    kind = FEATURES["kind"] | {"unseen": "missing"}
    table = make_table().assign(kind=["castle"] + ["flat"] * 239)
    found = failed(table, silver_suite(make_problem(features=FEATURES | {"kind": kind})))
    assert found["kind", "column_values_to_be_in_set"].severity == "warning"
    assert failed(table, silver_suite(PROBLEM))["kind", "column_values_to_be_in_set"].severity == "critical"
