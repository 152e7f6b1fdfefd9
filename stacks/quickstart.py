"""Eight things that make ZenML 0.98's runs quick.

Six replace a function of a library from outside and one hides a library from another;
tests/stacks/test_quickstart.py fails when a new ZenML or MLflow makes them needless or wrong.
"""

import functools
import importlib.metadata
import sqlite3
import sys
from typing import Any


def apply() -> None:
    """Make ZenML's start and steps quick; calling it again changes nothing."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine
    from zenml.client import Client
    from zenml.integrations.registry import IntegrationRegistry
    from zenml.steps.base_step import BaseStep
    from zenml.utils import source_utils

    if not event.contains(Engine, "connect", _write_ahead):
        event.listen(Engine, "connect", _write_ahead)
    # ZenML asks about once a step which distribution a module belongs to, and reads the file lists of
    # all that are installed to find out, 0.2 to 0.6 s each time.
    source_utils._get_package_for_module = _distribution
    # Before each run it imports every integration that is installed (mlflow, bentoml, lightgbm: 3-10 s)
    # to register their materializers. We name ours; flavors of stack components load when used.
    IntegrationRegistry.activate_integrations = _nothing
    # Of each step's parameters it makes a JSON schema at each run, for forms that only its paid server has:
    # a quarter of the time between the command and its first step.
    BaseStep._compute_parameter_schema = _nothing
    # Each step asks the server four times for the secrets of the stack's components.
    if not hasattr(Client.get_secret_by_name_and_private_status, "cache_clear"):
        Client.get_secret_by_name_and_private_status = functools.cache(
            Client.get_secret_by_name_and_private_status
        )


def apply_to_s3() -> None:
    """Before each output ZenML makes a folder. Object stores have none, and are asked three times for it."""
    from zenml.integrations.s3.artifact_stores import S3ArtifactStore

    S3ArtifactStore.makedirs = _nothing


def import_mlflow() -> None:
    """Import mlflow without what it would import and nobody uses.

    It asks for polars at once, though only data sets of polars need it, and does without where polars is not
    installed; whoever else imports polars later gets it. After a step ZenML turns autologging off, which
    nobody has turned on, and for that imports PyTorch and all other frameworks that are installed.
    """
    hidden = "polars" not in sys.modules
    if hidden:
        sys.modules["polars"] = None  # type: ignore[assignment]
    try:
        import mlflow.data  # noqa: F401
    finally:
        if hidden:
            del sys.modules["polars"]
    from zenml.integrations.mlflow.experiment_trackers.mlflow_experiment_tracker import (
        MLFlowExperimentTracker,
    )

    MLFlowExperimentTracker.disable_autologging = _nothing


def forget_secrets() -> None:
    """Ask ZenML anew for secrets, which may have changed."""
    from zenml.client import Client

    Client.get_secret_by_name_and_private_status.cache_clear()


@functools.cache
def _distribution(module_name: str) -> str | None:
    """The distribution that a module comes from, if there is exactly one.

    It mostly has the name of the package; only if not, all of them are searched.
    """
    package = module_name.partition(".")[0]
    try:
        return importlib.metadata.distribution(package).name
    except importlib.metadata.PackageNotFoundError:
        names = importlib.metadata.packages_distributions().get(package, [])
        return names[0] if len(names) == 1 else None


def _nothing(*_: object) -> None:
    """Do nothing."""


def _write_ahead(connection: Any, _: object) -> None:
    """SQLite's write-ahead log, for ZenML's and MLflow's local databases.

    A commit then waits for no disk, and readers not for writers. A killed process loses nothing; a
    power cut may lose the last commits, never the database.
    """
    if isinstance(connection, sqlite3.Connection):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
        except sqlite3.OperationalError as error:
            # A user's own database, as a source, is opened for reading only and stays as it is.
            if error.sqlite_errorcode != sqlite3.SQLITE_READONLY:
                raise
