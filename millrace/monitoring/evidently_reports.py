"""Evidently's reports of a sample of the window beside the reference: self-contained pages.

They show; they do not judge: at 200 rows Evidently's own thresholds find drift in most windows without any.
"""

import html
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from warnings import catch_warnings, simplefilter

import pandas as pd

from millrace.contract import Problem
from millrace.prediction_log.entries import PREDICTION

if TYPE_CHECKING:
    from evidently import DataDefinition

KINDS = ("drift", "quality", "performance")
DISCLAIMER = (
    "What this page calls drift is by Evidently's own thresholds; Millrace's verdict is on the page "
    "'verdict_page'."
)
STYLE = (
    "font: 15px/1.5 system-ui, sans-serif; margin: 0; padding: .7rem 1rem; background: #fff4dc; color: #333"
)
NUMBERS = frozenset({"number", "integer"})


def reports(problem: Problem, reference: pd.DataFrame, sample: pd.DataFrame, rows: int) -> dict[str, str]:
    """A page for each of `KINDS`: inputs and predictions that drift, what columns hold, and performance.

    `sample` is of the window's `rows` rows. Where nothing can be shown, the page is a sentence.
    """
    if sample.empty:
        return dict.fromkeys(KINDS, _sentence("The window has no rows."))
    target = problem.target.name
    labelled = sample[sample[target].notna()]
    drawn = f"{len(sample):,} of the window's {rows:,} rows, drawn at random"
    note = f"{drawn}, beside {len(reference):,} held-out rows."
    with _quietly():
        from evidently import presets

        performance = presets.ClassificationPreset() if problem.classes else presets.RegressionPreset()
        watched = _definition(problem, outcomes=False)
        return {
            "drift": _page(presets.DataDriftPreset(), watched, sample, reference, problem, note),
            "quality": _page(presets.DataSummaryPreset(), watched, sample, reference, problem, note),
            "performance": _page(
                performance,
                _definition(problem, outcomes=True),
                labelled,
                reference,
                problem,
                f"{len(labelled):,} rows whose outcome is known, among {note}",
            )
            if len(labelled)
            else _sentence("No outcome of the sampled rows is known yet."),
        }


def _definition(problem: Problem, outcomes: bool) -> "DataDefinition":
    """Evidently's column mapping, from the contract."""
    from evidently import BinaryClassification, DataDefinition, MulticlassClassification, Regression

    target = problem.target.name
    inputs = {name: column.type for name, column in problem.inputs.items() if not column.private}
    numbers = [name for name, kind in inputs.items() if kind in NUMBERS]
    moments = [name for name, kind in inputs.items() if kind == "datetime"]
    names = [name for name in inputs if name not in (*numbers, *moments)]
    if not outcomes:
        (names if problem.classes else numbers).append(PREDICTION)
        return DataDefinition(numerical_columns=numbers, categorical_columns=names, datetime_columns=moments)
    about: dict[str, Any] = {"target": target, "prediction_labels": PREDICTION}
    if problem.task == "regression":
        about = {"regression": [Regression(target=target, prediction=PREDICTION)]}
    elif problem.task == "binary":
        about = {"classification": [BinaryClassification(**about, pos_label=problem.classes[1])]}
    else:
        about = {"classification": [MulticlassClassification(**about)]}
    return DataDefinition(
        numerical_columns=numbers, categorical_columns=names, datetime_columns=moments, **about
    )


def _page(
    preset: Any,
    definition: "DataDefinition",
    current: pd.DataFrame,
    reference: pd.DataFrame,
    problem: Problem,
    note: str,
) -> str:
    from evidently import Dataset, Report

    now, before = (Dataset.from_pandas(_plain(table, problem), definition) for table in (current, reference))
    page: str = Report([preset]).run(now, before).get_html_str(as_iframe=False)
    return page.replace("<body>", f"<body>{_banner(note)}", 1)


def _plain(table: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """Columns as Evidently takes them: names as text, missing ones among them as None."""
    shown = table[
        [*(n for n, c in problem.inputs.items() if not c.private), PREDICTION, problem.target.name]
    ].copy()
    for name in shown:
        if shown[name].dtype.kind not in "fM":
            text = shown[name].astype(object)
            shown[name] = text.map(lambda value: str(value).lower() if isinstance(value, bool) else value)
            shown[name] = shown[name].where(text.notna(), None)
    return shown


def _banner(note: str) -> str:
    return f'<p style="{STYLE}">{html.escape(note)} {html.escape(DISCLAIMER)}</p>'


def _sentence(text: str) -> str:
    return f"<!doctype html><meta charset='utf-8'><body>{_banner(text)}</body>"


@contextmanager
def _quietly() -> Iterator[None]:
    """Without telemetry, and without warnings that are for Evidently's authors."""
    os.environ["DO_NOT_TRACK"] = "1"
    with catch_warnings():
        simplefilter("ignore")
        yield
