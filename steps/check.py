"""The checks at bronze, silver and gold; what must not fail stops the run here."""

from typing import Annotated

import pandas as pd
from zenml import save_artifact, step
from zenml.types import HTMLString

from millrace.contract import Problem
from millrace.features import FeatureState
from millrace.pages import render
from millrace.quality import (
    Report,
    Suite,
    bronze_suite,
    engine_for,
    gold_suite,
    leakage_suite,
    leakage_table,
    require,
    run_suite,
    silver_suite,
)

Outcome = tuple[Annotated[Report, "checks"], Annotated[HTMLString, "checks_page"], Annotated[Suite, "suite"]]


@step
def check_bronze(bronze: pd.DataFrame, problem: Problem, min_rows: int, bad_rows_limit: float) -> Outcome:
    """Shape, columns and types of what came in."""
    suite = bronze_suite(problem, min_rows, bad_rows_limit)
    engine = engine_for(bronze)
    report = Report(layer="bronze", checks=tuple(run_suite(bronze, suite, "bronze", engine)), engine=engine)
    return report, _conclude(report, problem, len(bronze)), suite


@step
def check_silver(silver: pd.DataFrame, problem: Problem) -> Outcome:
    """Ranges, nulls, categories, uniqueness after cleaning."""
    suite = silver_suite(problem)
    engine = engine_for(silver)
    report = Report(layer="silver", checks=tuple(run_suite(silver, suite, "silver", engine)), engine=engine)
    return report, _conclude(report, problem, len(silver)), suite


@step
def check_gold(gold: pd.DataFrame, state: FeatureState, problem: Problem) -> Outcome:
    """Finite features, no leakage, before anything is fitted."""
    suite, leakage = gold_suite(state), leakage_suite(state)
    engine = engine_for(gold)
    leaks = run_suite(leakage_table(gold), leakage, "leakage", engine)
    checks = (*run_suite(gold, suite, "gold", engine), *leaks)
    report = Report(layer="gold", checks=checks, engine=engine)
    return report, _conclude(report, problem, len(gold)), [*suite, *leakage]


def _conclude(report: Report, problem: Problem, rows: int) -> HTMLString:
    """Render the page, and stop the run if a check failed that must not."""
    title = f"{report.layer.capitalize()} checks"
    page = HTMLString(render("checks", title=title, problem=problem, report=report, rows=rows))
    if report.failures:
        # A step that raises leaves no outputs, but this page is what one then wants to open.
        save_artifact(page, "failed_checks_page")
    require(report, problem.name)
    return page
