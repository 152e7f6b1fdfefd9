"""The checks that a contract brings with it, a suite of Great Expectations a column."""

from typing import Any

from millrace.contract import Problem
from millrace.profiling.settings import ProfilingSettings
from millrace.quality import bronze_suite, silver_suite

# The suite of the rules about whole rows; no column of a contract can have this name.
WHOLE_TABLE = "_table"


def column_suites(problem: Problem, settings: ProfilingSettings) -> dict[str, dict[str, Any]]:
    """What training checks at bronze and silver, as one suite a column in Great Expectations' JSON form."""
    layers = {
        "bronze": bronze_suite(problem, settings.min_rows, settings.bad_rows_limit),
        "silver": silver_suite(problem),
    }
    suites: dict[str, dict[str, Any]] = {
        name: {"name": f"{problem.name}.{name}", "expectations": [], "meta": {}}
        for name in (WHOLE_TABLE, *problem.columns)
    }
    for layer, suite in layers.items():
        for expectation in suite:
            column = expectation["kwargs"].get("column")
            tagged = {**expectation, "meta": {**expectation["meta"], "layer": layer}}
            suites[column if column in problem.columns else WHOLE_TABLE]["expectations"].append(tagged)
    return suites
