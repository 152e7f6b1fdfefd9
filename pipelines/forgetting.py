"""Forgetting: a person's rows out of the prediction log, of the model versions, and of the tables of runs.

No pipeline of ZenML's, whose runs would tell of whom. The same command goes on where it was killed: a version
goes when its successor is there, and what is gone is not found again.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from millrace.bundle import CARD, METRICS, REFERENCE, Bundle, load_bundle
from millrace.card import shown
from millrace.casting import cast_column, plain
from millrace.contract import Problem
from millrace.errors import UserError
from millrace.forgetting import kept_rows, key_digest, key_texts, succeed
from millrace.prediction_log import LogSettings, forget
from millrace.prediction_log.stores import open_log
from millrace.registry import CHALLENGER, CHAMPION, DIGEST_TAG, Registration, Registry
from millrace.strict import Strict
from pipelines.closing import make_facts, open_console, write_summary
from stacks.environment import home
from stacks.stack_files import Stack

SUCCEEDS_TAG, SUCCEEDED_TAG = "succeeds", "succeeded_by"
SUCCESSOR = "succeeding_bundle"
BUNDLES = ("bundle", "promoted_bundle", SUCCESSOR)
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
REMAINS = (
    "what the model learnt from the rows: trees, and of neighbours and their networks the rows themselves, "
    "without the key; train again without them to be rid of that",
    "the source of the table, outputs of batch jobs, and rows kept encoded of tables beyond memory",
    "plots and reports of training runs, which count rows and may draw them as dots",
    "rows that wait in a service or its spool; forget once more when they are written",
)


class Successor(Strict):
    """A version whose bundle had rows of the key, and the one that took its place; None before it has."""

    version: str
    rows: int
    champion: bool
    successor: str | None


class ForgettingSummary(Strict):
    """What was, or with `dry_run` would be, forgotten.

    `log_rows` are the prediction log's. `unknown` versions do not say whose their rows are. `runs` had the
    key in a table; `tables` of theirs went.
    """

    problem: str
    key_digest: str
    dry_run: bool
    log: str | None
    log_rows: int
    successors: tuple[Successor, ...]
    unknown: tuple[str, ...]
    runs: tuple[str, ...]
    tables: int
    bento: str
    remains: tuple[str, ...]
    seconds: float


def run(
    problem: Problem, *, key: str, dry_run: bool, summary: Path | None, started: float, stack: Stack
) -> None:
    """Forget a key's rows, or say what would be forgotten.

    Raises:
        UserError: the contract has no key, the log cannot be read, a bundle would be left without rows.
    """
    from stacks.tracking import tracking_uri
    from steps.locks import registry_lock

    if problem.key is None:
        raise UserError(f"The contract of '{problem.name}' has no key: nobody knows whose rows are whose.")
    log, rows = _forget_log(problem, key, dry_run)
    registry, digest = Registry(problem.name, tracking_uri()), key_digest(problem, key)
    with registry_lock(problem.name):
        if not dry_run:
            _go_on(registry)
        found, unknown = _versions(registry, digest)
        successors = [each if dry_run else _replace(registry, each, digest, stack) for each in found]
        bento = "" if dry_run else _serve(registry, successors, stack)
        if not dry_run:
            _agree(registry)
        runs, tables = _tables(problem, key, dry_run)
        if not dry_run and (successors or runs):
            _expire(problem.name)
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
        bento=bento,
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
    if settings is None or problem.logged_key is None or not _is_there(settings, problem):
        return None, 0
    if not dry_run:
        return settings.uri, forget(settings.uri, problem, key)
    tables = open_log(settings.uri, problem).rows(0.0, time.time() + 1e9, 20_000, features=False)
    return settings.uri, sum(table.column("_key").to_pylist().count(key) for table in tables)


def _is_there(settings: LogSettings, problem: Problem) -> bool:
    try:
        open_log(settings.uri, problem)
    except UserError:
        return False
    return True


def _go_on(registry: Registry) -> None:
    """Delete what a run that was killed had begun to delete."""
    for version in registry.versions():
        if SUCCEEDED_TAG in registry.client.get_model_version(registry.name, version.version).tags:
            _delete(registry, version)


def _versions(registry: Registry, digest: str) -> tuple[list[Successor], list[str]]:
    """Versions that have rows of a key, oldest first; and those of which nobody knows."""
    champion, found, unknown = registry.with_alias(CHAMPION), [], []
    for version in registry.versions():
        if SUCCEEDED_TAG in registry.client.get_model_version(registry.name, version.version).tags:
            continue
        rows = kept_rows(registry.fetch_verified(version, home() / "cache"), digest)
        if rows is None:
            unknown.append(version.version)
        elif rows:
            is_champion = champion is not None and champion.version == version.version
            found.append(Successor(version=version.version, rows=rows, champion=is_champion, successor=None))
    return found, unknown


def _replace(registry: Registry, found: Successor, digest: str, stack: Stack) -> Successor:
    """Register a successor, point aliases at it, then delete the version with all its copies."""
    version = registry.get(found.version)
    assert version is not None
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        succeed(registry.fetch_verified(version, home() / "cache"), folder, digest)
        bundle = load_bundle(folder)
        successor = registry.find(bundle.digest) or _register(registry, version, bundle)
        _link(successor, bundle)
    for alias in (CHALLENGER, CHAMPION):
        aliased = registry.with_alias(alias)
        if aliased is not None and aliased.version == version.version:
            if alias == CHAMPION:
                registry.promote(successor.version)
            else:
                registry.client.set_registered_model_alias(registry.name, alias, successor.version)
    _agree(registry)
    # It may have been made champion by a run that was killed.
    champion = registry.with_alias(CHAMPION) == successor
    if champion:
        _build(registry, successor, stack)
    # From here on its bundle need not be whole any more.
    registry.client.set_model_version_tag(registry.name, version.version, SUCCEEDED_TAG, successor.version)
    _delete(registry, version)
    return found.model_copy(update={"successor": successor.version, "champion": champion})


def _register(registry: Registry, version: Registration, bundle: Bundle) -> Registration:
    import mlflow

    from steps.model_version import log_model

    before = registry.client.get_model_version(registry.name, version.version)
    mlflow.set_tracking_uri(registry.tracking_uri)
    mlflow.set_experiment(registry.name)
    with mlflow.start_run(run_name=f"successor of version {version.version}") as active:
        metrics = bundle.read(METRICS)["evaluation"]["metrics"]
        mlflow.log_metrics({f"holdout_{name}": interval["value"] for name, interval in metrics.items()})
        model_id = log_model(bundle, pd.read_parquet(bundle.folder / REFERENCE))
        mlflow.log_text(shown(bundle.folder, CARD), CARD)
        tags = {**before.tags, DIGEST_TAG: bundle.digest, SUCCEEDS_TAG: version.version}
        return registry.register(model_id, active.info.run_id, tags, before.description or "")


def _link(successor: Registration, bundle: Bundle) -> None:
    """The successor's bundle as an artifact of its version in ZenML."""
    from zenml.artifacts.utils import save_artifact
    from zenml.client import Client
    from zenml.exceptions import EntityExistsError

    from steps.materializers import BundleMaterializer
    from steps.model_control_plane import link_version

    with suppress(EntityExistsError):
        save_artifact(
            bundle,
            SUCCESSOR,
            version=bundle.digest,
            materializer=BundleMaterializer,
            tags=[successor.name],
        )
    artifact = Client().get_artifact_version(SUCCESSOR, bundle.digest)
    link_version(successor.name, successor.version, successor.digest, artifact.id, None)


def _agree(registry: Registry) -> None:
    from steps.model_control_plane import agree_with_registry

    agree_with_registry(registry)


def _build(registry: Registry, version: Registration, stack: Stack) -> str:
    """The version's Bento, where this machine serves the stack."""
    from bentos.build import build_bento, store_model

    if stack.server is not None:
        return ""
    folder = registry.fetch_bundle(version.version, home() / "cache")
    return build_bento(store_model(folder, version.name, version.digest, version.version))


def _serve(registry: Registry, successors: list[Successor], stack: Stack) -> str:
    champion = registry.with_alias(CHAMPION)
    if champion is None or not any(each.champion for each in successors):
        return ""
    return _build(registry, champion, stack)


def _delete(registry: Registry, version: Registration) -> None:
    """A version out of BentoML, ZenML, this machine's cache and, last, MLflow, by which it is found again."""
    from zenml.client import Client

    from bentos.build import bentoml_home
    from steps.model_control_plane import zenml_version

    tag = version.digest[:12]
    shutil.rmtree(bentoml_home() / "models" / version.name / tag, ignore_errors=True)
    for bento in (bentoml_home() / "bentos" / version.name).glob(f"{tag}-*"):
        shutil.rmtree(bento)
    client = Client()
    for artifact in _artifacts(BUNDLES):
        if artifact.run_metadata.get("digest") == version.digest:
            _delete_files(artifact)
    for found in client.list_model_versions(model=version.name, name=zenml_version(version.version)).items:
        client.delete_model_version(found.id)
    shutil.rmtree(registry.cached_bundle(version.version, home() / "cache"), ignore_errors=True)
    _delete_logged(registry, version)
    registry.client.delete_model_version(registry.name, version.version)


def _delete_logged(registry: Registry, version: Registration) -> None:
    """The files of a version's logged model, and then the logged model."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    about = registry.client.get_model_version(registry.name, version.version)
    # Gone already, where a run was killed here.
    with suppress(MlflowException):
        logged = registry.client.get_logged_model(about.model_id or about.source.rpartition("/")[2])
        get_artifact_repository(logged.artifact_location).delete_artifacts()
        registry.client.delete_logged_model(logged.model_id)


def _tables(problem: Problem, key: str, dry_run: bool) -> tuple[list[str], int]:
    """Delete the tables of runs that have rows of a key; their names, and how many tables."""
    from zenml.client import Client

    client = Client()
    runs: dict[Any, str] = {}
    for artifact in _artifacts(KEYED):
        run = artifact.producer_pipeline_run_id
        name = client.get_pipeline_run(run).name if run and run not in runs else ""
        if name.rpartition("-")[0].rpartition("-")[0] in _experiments(problem.name) and _has(
            artifact.load(), problem, key
        ):
            runs[run] = name
    gone = [artifact for artifact in _artifacts(OF_ROWS) if artifact.producer_pipeline_run_id in runs]
    for artifact in gone if not dry_run else ():
        _delete_files(artifact)
    return sorted(runs.values()), len(gone)


def _artifacts(names: tuple[str, ...]) -> Iterator[Any]:
    """Artifacts of these names whose files are there."""
    from zenml.client import Client

    client = Client()
    store = client.active_stack.artifact_store
    for name in names:
        with suppress(KeyError):
            for artifact in client.list_artifact_versions(artifact=name, size=10_000, hydrate=True).items:
                if artifact.uri.startswith(store.path) and store.exists(artifact.uri):
                    yield artifact


def _delete_files(artifact: Any) -> None:
    """ZenML keeps what it knows of artifacts that runs have used; that names nobody."""
    from zenml.client import Client

    Client().delete_artifact_version(artifact.id, delete_metadata=False, delete_from_artifact_store=True)


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


def _expire(name: str) -> None:
    """No later run is to take what earlier ones of the problem have cached: some of it is gone."""
    from zenml.client import Client
    from zenml.models import StepRunUpdate

    client, now = Client(), datetime.now(UTC).replace(tzinfo=None)
    for tag in _experiments(name):
        for run in client.list_pipeline_runs(tags=[tag], size=10_000).items:
            for step in client.list_run_steps(pipeline_run_id=run.id, size=10_000).items:
                client.zen_store.update_run_step(step.id, StepRunUpdate(cache_expires_at=now))


def print_summary(summary: ForgettingSummary) -> None:
    """Print what was forgotten, and what remains."""
    from rich.text import Text

    facts = make_facts(f"{summary.problem}: a key's rows" + (", nothing done" if summary.dry_run else ""))
    facts.add_row("prediction log", Text(f"{summary.log_rows:,} rows" if summary.log else "none"))
    for each in summary.successors:
        after = (
            f"succeeded by version {each.successor}, and deleted" if each.successor else "would be succeeded"
        )
        champion = ", the champion" if each.champion else ""
        facts.add_row(f"version {each.version}", f"{each.rows:,} rows{champion}: {after}")
    if summary.unknown:
        listed = ", ".join(summary.unknown)
        facts.add_row("cannot say", f"versions {listed}: made before bundles knew whose their rows are")
    for name in summary.runs:
        facts.add_row("run", Text(name))
    facts.add_row("tables of runs", f"{summary.tables:,}")
    if summary.bento:
        facts.add_row("service", f"{summary.bento}; restart a service that does not watch for it")
    for told in summary.remains:
        facts.add_row("remains", told)
    open_console().print(facts)
