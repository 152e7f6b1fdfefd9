"""The tables of runs that have rows of a key: found, and their files deleted."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from millrace.casting import cast_column, plain
from millrace.contract import Problem
from millrace.forgetting import key_texts

# Tables that say whose their rows are, by the contract's key or by the log's.
KEYED = (
    *("raw", "bronze", "quarantine", "silver", "recent", "training_rows", "holdout_rows"),
    *("window_sample", "sample", "quarantine_sample"),
)
# Of runs that have such a row in one of those: all their tables, and reports, which show single rows.
OF_ROWS = (
    *KEYED,
    *("gold", "holdout_scores", "out_of_fold", "training_scores"),
    *("drift_report", "quality_report", "performance_report", "inference_page"),
    *("checks", "checks_page", "draft", "profile_page"),
)


def forget_tables(problem: Problem, key: str, dry_run: bool) -> tuple[list[str], int]:
    """Delete the tables of runs that have rows of a key; their names, and how many tables."""
    from zenml.client import Client

    client = Client()
    runs: dict[Any, str] = {}
    for artifact in artifacts(KEYED):
        run = artifact.producer_pipeline_run_id
        name = client.get_pipeline_run(run).name if run and run not in runs else ""
        if name.rpartition("-")[0].rpartition("-")[0] in _experiments(problem.name) and _has(
            artifact.load(), problem, key
        ):
            runs[run] = name
    gone = [artifact for artifact in artifacts(OF_ROWS) if artifact.producer_pipeline_run_id in runs]
    for artifact in gone if not dry_run else ():
        delete_files(artifact)
    return sorted(runs.values()), len(gone)


def artifacts(names: tuple[str, ...]) -> Iterator[Any]:
    """Artifacts of these names whose files are there."""
    from zenml.client import Client

    client = Client()
    store = client.active_stack.artifact_store
    for name in names:
        with suppress(KeyError):
            for artifact in client.list_artifact_versions(artifact=name, size=10_000, hydrate=True).items:
                if artifact.uri.startswith(store.path) and store.exists(artifact.uri):
                    yield artifact


def delete_files(artifact: Any) -> None:
    """Delete an artifact's files. ZenML goes on to know of it, if runs have used it; that names nobody."""
    from zenml.client import Client

    Client().delete_artifact_version(artifact.id, delete_metadata=False, delete_from_artifact_store=True)


def expire_caches(name: str) -> None:
    """No later run is to take what earlier ones of the problem have cached: some of it is gone."""
    from zenml.client import Client
    from zenml.models import StepRunUpdate

    client, now = Client(), datetime.now(UTC).replace(tzinfo=None)
    for tag in _experiments(name):
        for run in client.list_pipeline_runs(tags=[tag], size=10_000).items:
            for step in client.list_run_steps(pipeline_run_id=run.id, size=10_000).items:
                client.zen_store.update_run_step(step.id, StepRunUpdate(cache_expires_at=now))


def _experiments(name: str) -> tuple[str, ...]:
    """What the runs of a problem are called by, before the time."""
    return name, *(f"{kind}_{name}" for kind in ("retraining", "monitoring", "inference", "profiling"))


def _has(table: Any, problem: Problem, key: str) -> bool:
    """Of a table of pandas', or of profiling's, of Arrow."""
    if not isinstance(table, pd.DataFrame):
        if problem.key not in table.column_names:
            return False
        table = _typed(table, problem)
    if "_key" in table:
        return bool((table["_key"] == key).any())
    return problem.key in table and key in key_texts(table, problem)


def _typed(table: Any, problem: Problem) -> pd.DataFrame:
    assert problem.key is not None
    column = problem.features[problem.key]
    return cast_column(plain(table.column(problem.key), column), column).to_frame(problem.key)
