"""Forgetting: a person's rows out of the prediction log, of the model versions, and of the tables of runs.

No pipeline of ZenML's, whose runs would tell of whom. The same command goes on where it was killed.
"""

import os
import time
from pathlib import Path

from millrace.contract import Problem
from millrace.errors import UserError
from millrace.forgetting import key_digest
from millrace.prediction_log.stores import find_log
from millrace.registry import Registry
from pipelines.closing import write_summary
from pipelines.forgetting_summary import REMAINS, ForgettingSummary, print_summary
from stacks.tracking import tracking_uri
from steps.locks import registry_lock
from steps.model_control_plane import agree_with_registry
from steps.run_tables import expire_caches, forget_tables
from steps.successors import find_versions, go_on, replace_version


def run(problem: Problem, *, key: str, dry_run: bool, summary: Path | None, started: float) -> None:
    """Forget a key's rows, or say what would be forgotten.

    Raises:
        UserError: the contract has no key, the log cannot be read, a bundle would be left without rows.
    """
    if problem.key is None:
        raise UserError(f"The contract of '{problem.name}' has no key: nobody knows whose rows are whose.")
    log, rows = _forget_log(problem, key, dry_run)
    registry, digest = Registry(problem.name, tracking_uri()), key_digest(problem, key)
    with registry_lock(problem.name):
        if not dry_run:
            go_on(registry)
        found, unknown = find_versions(registry, digest)
        successors = [each if dry_run else replace_version(registry, each, digest) for each in found]
        if not dry_run:
            agree_with_registry(registry)
        runs, tables = forget_tables(problem, key, dry_run)
        if not dry_run and (successors or runs):
            expire_caches(problem.name)
    outcome = ForgettingSummary(
        problem=problem.name,
        key_digest=digest,
        dry_run=dry_run,
        log=log,
        log_rows=rows,
        successors=tuple(successors),
        unknown=tuple(unknown),
        runs=tuple(runs),
        tables=tables,
        bento=next((each.bento for each in successors[::-1] if each.bento), ""),
        remains=REMAINS,
        seconds=time.perf_counter() - started,
    )
    if summary is not None:
        write_summary(outcome, summary)
    print_summary(outcome)


def _forget_log(problem: Problem, key: str, dry_run: bool) -> tuple[str | None, int]:
    """The log of a service on this machine, and how many rows it had; a private key is in no log."""
    from bentos.settings import from_environment

    settings = from_environment().log_settings(problem.name, Path(os.environ["BENTOML_HOME"]))
    if settings is None or problem.logged_key is None:
        return None, 0
    log = find_log(settings.uri, problem)
    if log is None:
        return None, 0
    if not dry_run:
        return settings.uri, log.forget(key)
    tables = log.rows(0.0, time.time() + 1e9, 20_000, features=False)
    return settings.uri, sum(table.column("_key").to_pylist().count(key) for table in tables)
