"""The checks that follow from the contract, as Great Expectations' own JSON: a list of expectations.

`critical` ones stop the run; `warning` ones are reported.
"""

import sys
from typing import Any

import pandas as pd

from millrace.casting import UNREADABLE
from millrace.contract import NUMERIC, Column, Problem
from millrace.features import FeatureState

Suite = list[dict[str, Any]]
LARGEST = sys.float_info.max
LEAK_CORRELATION = 0.999
# Fewer known values than this may follow the target by chance.
LEAK_ROWS = 30
# The gold table's target; the column name no feature can have.
GOLD_TARGET = "_target"
DTYPES = {
    "number": "float64",
    "integer": "float64",
    "category": "str",
    "id": "str",
    # What Great Expectations calls pandas' nullable booleans.
    "boolean": "bool",
    "datetime": "datetime64",
}


def bronze_suite(problem: Problem, min_rows: int, bad_rows_limit: float) -> Suite:
    """Shape, columns and types of what came in; single bad rows are the cleaning's business."""
    mostly = 1 - bad_rows_limit
    suite = [
        _expect("expect_table_row_count_to_be_between", f"have at least {min_rows} rows", min_value=min_rows),
        _expect(
            "expect_table_columns_to_match_set",
            "have the contract's columns",
            column_set=[*problem.columns, UNREADABLE],
        ),
        _expect(
            "expect_column_values_to_be_null", "hold no row with unreadable cells", UNREADABLE, mostly=mostly
        ),
    ]
    for name, column in problem.columns.items():
        dtype = DTYPES[column.type]
        suite.append(_expect("expect_column_values_to_be_of_type", f"be of type {dtype}", name, type_=dtype))
        # The first value that a column must have: one that is empty throughout teaches nothing.
        suite.append(
            _expect(
                "expect_column_unique_value_count_to_be_between",
                "hold a value at all",
                name,
                min_value=1,
            )
        )
        if not column.nullable:
            # Here a cell that could not be read is null too.
            what = "have no missing or unreadable value"
            suite.append(_expect("expect_column_values_to_not_be_null", what, name, mostly=mostly))
    return suite


def silver_suite(problem: Problem) -> Suite:
    """Ranges, nulls, categories, uniqueness: after cleaning, every row keeps the contract."""
    suite = [
        _expect(
            "expect_compound_columns_to_be_unique", "hold no row twice", column_list=list(problem.columns)
        )
    ]
    for name, column in problem.columns.items():
        suite += _column_rules(name, column)
    if problem.key:
        suite.append(_expect("expect_column_values_to_be_unique", "identify each row", problem.key))
    target = problem.target.name
    what = f"hold at least two {'classes' if problem.classes else 'different values'}"
    suite.append(_expect("expect_column_unique_value_count_to_be_between", what, target, min_value=2))
    return suite


def gold_suite(state: FeatureState) -> Suite:
    """Features and target as a model sees them: finite, complete, varying, and nothing else."""
    columns = [*state.names, GOLD_TARGET]
    finite = {"min_value": -LARGEST, "max_value": LARGEST}
    between, distinct = "expect_column_values_to_be_between", "expect_column_unique_value_count_to_be_between"
    return [
        _expect(
            "expect_table_columns_to_match_set",
            "hold the features and the target, nothing else (no key, no id)",
            column_set=columns,
        ),
        _expect("expect_column_values_to_not_be_null", "have no missing value", GOLD_TARGET),
        *(_expect(between, "be finite", name, "critical", **finite) for name in columns),
        *(_expect(distinct, "vary", name, "warning", min_value=2) for name in state.names),
    ]


def leakage_suite(state: FeatureState) -> Suite:
    """No feature may be the target in disguise; checks the one row of `leakage_table`."""
    return [
        _expect(
            "expect_column_max_to_be_between",
            f"not give the target away (rank correlation at most {LEAK_CORRELATION})",
            name,
            max_value=LEAK_CORRELATION,
        )
        for name in state.names
    ]


def leakage_table(gold: pd.DataFrame) -> pd.DataFrame:
    """Each feature's absolute Spearman correlation with the target, as one row.

    It is taken over the rows where the feature is known; one that does not vary or is hardly ever
    known has none, so 0.
    """
    features = gold.drop(columns=GOLD_TARGET)
    varying = features.loc[:, (features.nunique() > 1) & (features.count() >= LEAK_ROWS)]
    correlations = varying.corrwith(gold[GOLD_TARGET], method="spearman").abs()
    return correlations.reindex(features.columns).fillna(0.0).to_frame().T


def _column_rules(name: str, column: Column) -> Suite:
    rules = []
    if not column.nullable:
        rules.append(_expect("expect_column_values_to_not_be_null", "have no missing value", name))
    if column.type in NUMERIC:
        low, high = column.range or (None, None)
        rules.append(
            _expect(
                "expect_column_values_to_be_between",
                f"lie in {shown_range(column)}",
                name,
                min_value=-LARGEST if low is None else low,
                max_value=LARGEST if high is None else high,
            )
        )
    if column.type == "category":
        what = f"be one of {', '.join(column.categories)}"
        severity = "critical" if column.unseen == "refuse" else "warning"
        listed = list(column.categories)
        rules.append(_expect("expect_column_values_to_be_in_set", what, name, severity, value_set=listed))
    return rules


def shown_range(column: Column) -> str:
    """A column's range as people write it, with its unit."""
    low, high = column.range or (None, None)
    left = "-infinity" if low is None else f"{low:g}"
    right = "infinity" if high is None else f"{high:g}"
    return f"{left} to {right}{' ' + column.unit if column.unit else ''}"


def _expect(
    kind: str, expected: str, column: str | None = None, severity: str = "critical", **kwargs: Any
) -> dict[str, Any]:
    """One expectation configuration; `expected` is the rule in words, for sentences and pages."""
    if column is not None:
        kwargs["column"] = column
    return {"type": kind, "kwargs": kwargs, "severity": severity, "meta": {"expected": expected}}
