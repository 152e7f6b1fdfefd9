"""A suite evaluated by Great Expectations."""

import logging
from typing import Any

import pandas as pd

from millrace.quality.report import SAMPLES, Check, shown
from millrace.quality.suites import Suite


def evaluate(table: pd.DataFrame, suite: Suite, name: str) -> list[Check]:
    """The outcomes of a suite, in its order.

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
    # They come grouped by column.
    order = [(config["type"], config["kwargs"].get("column")) for config in suite]
    checks = [_check(outcome) for outcome in outcomes]
    return sorted(checks, key=lambda check: order.index((check.rule, check.column)))


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
        samples=() if outcome["success"] else shown(samples or []),
    )
