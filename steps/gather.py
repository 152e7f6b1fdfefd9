"""The rows of a retraining: those of the source, read anew, and those of the log that have an outcome."""

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from zenml import log_metadata, step

from millrace.bundle import PROVENANCE
from millrace.casting import cast
from millrace.contract import Problem
from millrace.digests import table_digest
from millrace.moments import begin
from millrace.prediction_log.stores import find_log
from millrace.registry import CHAMPION, Registration, Registry
from millrace.retraining import (
    Labelled,
    RetrainingSettings,
    Trigger,
    enough_of_the_source,
    fresh_rows,
    labelled_rows,
)
from millrace.retraining.admission import OF_THE_WINDOW
from millrace.sources import Source, read
from millrace.strict import Strict
from stacks.environment import home
from stacks.tracking import tracking_uri
from steps.ingest import read_secret
from steps.materializers import TableMaterializer
from steps.score import load_chosen, log_uri


class Gathering(Strict):
    """Why rows are wanted, and which."""

    trigger: Trigger
    settings: RetrainingSettings


# Never cached: source and log are the world, not artifacts. The steps after it are cached by their rows.
@step(enable_cache=False, output_materializers={"bronze": TableMaterializer, "recent": TableMaterializer})
def gather(
    problem: Problem, source: Source, cache: str, champion: Registration, asked: Gathering
) -> tuple[Annotated[pd.DataFrame, "bronze"], Annotated[pd.DataFrame, "recent"]]:
    """Read the source and the log, and take what the policy says."""
    trigger, settings = asked.trigger, asked.settings
    raw = read(source, Path(cache), problem.columns, read_secret)
    table = cast(raw.table, problem, raw.origin)
    if settings.rows != "window":
        enough_of_the_source(len(table), _learnt(champion)["rows"], settings)
    fresh = fresh_rows(table, _labelled(problem, trigger, settings), problem, trigger, settings)
    metadata: dict[str, Any] = {
        "origin": raw.origin,
        "format": raw.format,
        "rows_read": len(fresh.bronze),
        "ignored_columns": [name for name in raw.names if name not in problem.columns],
        "rows": fresh.told,
        "source_rows": len(table),
        "source_digest": table_digest(table),
        "trigger": trigger.model_dump(mode="json"),
    }
    if raw.revision:
        metadata["dvc"] = raw.revision
    log_metadata(metadata, artifact_name="bronze", infer_artifact=True)
    bronze, recent = fresh.bronze, fresh.recent
    return bronze, recent


def is_new(problem: Problem, source: Source) -> bool:
    """Whether a source holds other rows than those that the champion has learnt from; True without one."""
    champion = Registry(problem.name, tracking_uri()).with_alias(CHAMPION)
    if champion is None:
        return True
    raw = read(source, home() / "cache", problem.columns, read_secret)
    return table_digest(cast(raw.table, problem, raw.origin)) != _learnt(champion)["digest"]


def _learnt(champion: Registration) -> dict[str, Any]:
    """Digest and number of the rows that the champion's source had."""
    data = load_chosen(champion).read(PROVENANCE)["data"]
    return {name: data.get(f"source_{name}", data[name]) for name in ("digest", "rows")}


def _labelled(problem: Problem, trigger: Trigger, settings: RetrainingSettings) -> Labelled | None:
    """The log's rows; None where they do not matter, or there is no log and need not be."""
    if settings.rows == "all":
        return None
    uri = log_uri(settings.log, problem.name)
    needed = settings.rows == "window" or trigger.kind in OF_THE_WINDOW
    if not needed and find_log(uri, problem) is None:
        return None
    return labelled_rows(uri, problem, begin(settings.window, trigger.asked), trigger.asked)
