"""Checks derived from the contract, at bronze, silver and gold.

Great Expectations computes them; polars does on tables so large that one would wait for it.
"""

import pandas as pd

from millrace.quality.report import Check, Engine, Layer, Report, require
from millrace.quality.suites import (
    GOLD_TARGET,
    Suite,
    bronze_suite,
    gold_suite,
    leakage_suite,
    leakage_table,
    shown_range,
    silver_suite,
)

# Great Expectations takes seconds for a million rows of nine columns, polars a tenth of one.
GREAT_EXPECTATIONS_ROWS = 1_000_000


def engine_for(table: pd.DataFrame) -> Engine:
    """What computes the checks of a table of this size."""
    return "Great Expectations" if len(table) <= GREAT_EXPECTATIONS_ROWS else "polars"


def run_suite(table: pd.DataFrame, suite: Suite, name: str, engine: Engine) -> list[Check]:
    """The outcomes of a suite on a table, in the suite's order, the same from either engine.

    Raises:
        RuntimeError: an expectation is of a type that the engine does not know, or cannot be evaluated.
    """
    from millrace.quality import by_great_expectations, by_polars

    evaluate = by_polars.evaluate if engine == "polars" else by_great_expectations.evaluate
    return evaluate(table, suite, name)


__all__ = [
    "GOLD_TARGET",
    "GREAT_EXPECTATIONS_ROWS",
    "Check",
    "Engine",
    "Layer",
    "Report",
    "Suite",
    "bronze_suite",
    "engine_for",
    "gold_suite",
    "leakage_suite",
    "leakage_table",
    "require",
    "run_suite",
    "shown_range",
    "silver_suite",
]
