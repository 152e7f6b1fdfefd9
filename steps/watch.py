"""The champion in use beside what it was when it was made: verdict, gauges, history, reports."""

import os
from datetime import datetime
from pathlib import Path
from typing import Annotated

import pandas as pd
from zenml import get_step_context, log_metadata, step
from zenml.types import HTMLString

from millrace.bundle import REFERENCE
from millrace.errors import UserError
from millrace.monitoring import MonitoringSettings, Verdict, monitor
from millrace.registry import Registration
from millrace.strict import Strict
from stacks.environment import home
from steps.materializers import Plots, PlotsMaterializer, ShownTableMaterializer
from steps.score import load_chosen, log_uri

# Runs that the plot of earlier verdicts shows.
SHOWN_RUNS = 500


class Watching(Strict):
    """What is to be judged, and by what; each `stack` has a history of its own."""

    stack: str
    since: datetime
    until: datetime
    settings: MonitoringSettings


# Never cached: the log is the world, not an artifact.
@step(enable_cache=False, output_materializers={"window_sample": ShownTableMaterializer})
def watch(
    chosen: Registration, asked: Watching
) -> tuple[Annotated[Verdict, "verdict"], Annotated[pd.DataFrame, "window_sample"]]:
    """Read the window and judge it."""
    settings = asked.settings
    uri = log_uri(settings.log, chosen.name)
    verdict, window = monitor(uri, load_chosen(chosen), chosen.version, asked.since, asked.until, settings)
    drift, performance = verdict.drift, verdict.performance
    log_metadata(
        {
            "model_version": verdict.version,
            "bundle_digest": verdict.bundle_digest,
            "since": verdict.since.isoformat(),
            "until": verdict.until.isoformat(),
            "drift": drift.status,
            "decay": performance.status,
            "rows": drift.rows,
            "labelled_rows": performance.labelled_rows,
            **({"drift_score": drift.score} if drift.score is not None else {}),
        },
        artifact_name="verdict",
        infer_artifact=True,
    )
    return verdict, window.sample


@step(enable_cache=False, output_materializers={"monitoring_plots": PlotsMaterializer})
def publish(
    verdict: Verdict, chosen: Registration, asked: Watching
) -> tuple[Annotated[Plots, "monitoring_plots"], Annotated[HTMLString, "verdict_page"]]:
    """Tell Prometheus, add to the history, and draw it."""
    from millrace.monitoring import gauges, history
    from millrace.monitoring.page import verdict_page
    from millrace.monitoring.plots import history_plot

    path = history_path(asked.stack, verdict.problem)
    try:
        gauges.publish(gauges_path(verdict.problem), verdict)
        history.append(path, history.Point.of(verdict, get_step_context().pipeline_run.name))
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be written ({error.strerror}).") from None
    plots = Plots(history=history_plot(history.read(path, SHOWN_RUNS)))
    problem = load_chosen(chosen).problem
    page = verdict_page(verdict, problem, plots["history"], asked.settings.confidence)
    return plots, HTMLString(page)


@step(enable_cache=False)
def report(
    verdict: Verdict, window_sample: pd.DataFrame, chosen: Registration, asked: Watching
) -> tuple[
    Annotated[HTMLString, "drift_report"],
    Annotated[HTMLString, "quality_report"],
    Annotated[HTMLString, "performance_report"],
]:
    """Evidently's reports of a sample of the window beside the reference."""
    from millrace.monitoring.evidently_reports import KINDS, reports

    bundle = load_chosen(chosen)
    reference = pd.read_parquet(bundle.folder / REFERENCE)
    sample = window_sample if asked.settings.report_rows else window_sample.iloc[:0]
    pages = reports(bundle.problem, reference, sample, verdict.drift.rows)
    drift, quality, performance = (HTMLString(pages[kind]) for kind in KINDS)
    return drift, quality, performance


def history_path(stack: str, problem: str) -> Path:
    """Where the verdicts of a problem on a stack are kept on this machine."""
    return home() / "monitoring" / stack / f"{problem}.jsonl"


def gauges_path(problem: str) -> Path:
    """Where a service on this machine looks for the gauges of its problem."""
    from bentos.settings import from_environment

    return from_environment().verdict_file(problem, Path(os.environ["BENTOML_HOME"]))
