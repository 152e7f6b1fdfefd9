"""Checks derived from the contract, run by Great Expectations at bronze, silver and gold.

A suite is a list of expectation configurations in Great Expectations' own JSON form. `critical` ones
stop the run; `warning` ones are reported.
"""

import json
import logging
import sys
from typing import Any, Literal

import pandas as pd

from millrace.casting import UNREADABLE
from millrace.contract import NUMERIC, Column, Problem, Strict
from millrace.errors import UserError
from millrace.features import FeatureState

Layer = Literal["bronze", "silver", "gold"]
Suite = list[dict[str, Any]]
SAMPLES = 5
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


class Check(Strict):
    """The outcome of one expectation."""

    rule: str
    column: str | None
    expected: str
    severity: str
    passed: bool
    unexpected: int | None
    rows: int | None
    samples: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The failure as a person would say it."""
        where = f"column '{self.column}'" if self.column else "the table"
        if self.unexpected is None or self.rows is None:
            found = f" (found: {', '.join(self.samples)})" if self.samples else ""
            return f"{where} should {self.expected}{found}."
        share = self.unexpected / max(self.rows, 1)
        like = f", for example {', '.join(self.samples)}" if self.samples else ""
        count = f"{self.unexpected} of {self.rows} rows ({share:.1%})"
        return f"{where} should {self.expected}: {count} do not{like}."


class Report(Strict):
    """All outcomes of one layer."""

    layer: Layer
    checks: tuple[Check, ...]

    @property
    def failures(self) -> list[Check]:
        """The failed checks that stop a run."""
        return [check for check in self.checks if not check.passed and check.severity == "critical"]

    @property
    def warnings(self) -> list[Check]:
        """The failed checks that do not."""
        return [check for check in self.checks if not check.passed and check.severity != "critical"]


def require(report: Report, origin: str) -> None:
    """Raise a UserError with a sentence for each check that must not fail but did."""
    if report.failures:
        sentences = "\n".join(f"  - {check.sentence}" for check in report.failures)
        failed = f"{len(report.failures)} {report.layer} check(s) failed"
        raise UserError(f"{origin}: {failed}, nothing was trained:\n{sentences}")


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
            suite.append(
                _expect("expect_column_values_to_not_be_null", "have no missing value", name, mostly=mostly)
            )
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


def run_suite(table: pd.DataFrame, suite: Suite, name: str) -> list[Check]:
    """Validate `table` with Great Expectations.

    Raises:
        RuntimeError: Great Expectations dropped or could not evaluate an expectation.
    """
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    # It announces every metric it overrides at import, at a level that would reach the screen.
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    context.enable_analytics(False)
    batch = (
        context.data_sources.add_pandas("pandas")
        .add_dataframe_asset("table")
        .add_batch_definition_whole_dataframe("all")
        .get_batch({"dataframe": table})
    )
    expectations = gx.ExpectationSuite(name=name, expectations=suite)
    result = batch.validate(
        expectations, result_format={"result_format": "SUMMARY", "partial_unexpected_count": SAMPLES}
    )
    outcomes = result.to_json_dict()["results"]
    # An expectation of a type it does not know is dropped with no more than a log line.
    if len(outcomes) != len(suite):
        raise RuntimeError(f"Great Expectations evaluated {len(outcomes)} of {len(suite)} checks of {name}.")
    return [_check(outcome) for outcome in outcomes]


def _check(outcome: Any) -> Check:
    config, result = outcome["expectation_config"], outcome["result"]
    kwargs = config["kwargs"]
    column = kwargs.get("column")
    if column is not None and not result and not outcome["success"]:
        raise RuntimeError(f"Great Expectations could not evaluate {config['type']} on '{column}'.")
    samples = result.get("partial_unexpected_list")
    if samples is None and "observed_value" in result:
        samples = [result["observed_value"]]
    return Check(
        rule=config["type"],
        column=column,
        expected=config["meta"]["expected"],
        severity=config["severity"],
        passed=outcome["success"],
        unexpected=result.get("unexpected_count"),
        rows=result.get("element_count"),
        samples=() if outcome["success"] else tuple(dict.fromkeys(_shown(value) for value in samples or [])),
    )


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


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
