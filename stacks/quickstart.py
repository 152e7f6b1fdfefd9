"""What makes runs of ZenML 0.98 quick.

Functions of ZenML and MLflow are replaced from outside, and one library is hidden from another;
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
    from zenml.environment import Environment
    from zenml.integrations.registry import IntegrationRegistry
    from zenml.pipelines.pipeline_definition import Pipeline
    from zenml.steps.base_step import BaseStep
    from zenml.utils import source_code_utils, source_utils

    if not event.contains(Engine, "connect", _write_ahead):
        event.listen(Engine, "connect", _write_ahead)
    # ZenML asks about once a step which distribution a module belongs to, and reads the file lists of
    # all that are installed to find out, 0.2 to 0.6 s each time.
    source_utils._get_package_for_module = _distribution
    # Before each run it imports every integration that is installed (mlflow, bentoml, lightgbm: 3-10 s)
    # to register their materializers. We name ours; flavors of stack components load when used.
    IntegrationRegistry.activate_integrations = _nothing
    # Of each step's and the pipeline's parameters it makes a JSON schema at each run, for forms that only its
    # paid server has: a quarter of the time between the command and its first step.
    BaseStep._compute_parameter_schema = _nothing
    Pipeline._compute_input_schema = _nothing
    if not hasattr(Client.get_secret_by_name_and_private_status, "cache_clear"):
        # Each step asks the server four times for the secrets of the stack's components.
        Client.get_secret_by_name_and_private_status = functools.cache(
            Client.get_secret_by_name_and_private_status
        )
        # A run asks a program twice for all installed packages, and parses materializers again for each step
        # that uses them.
        Environment.get_python_packages = staticmethod(functools.cache(Environment.get_python_packages))
        source_code_utils.get_source_code = functools.cache(source_code_utils.get_source_code)


def apply_to_s3() -> None:
    """Before each output ZenML makes a folder. Object stores have none, and are asked three times for it."""
    from zenml.integrations.s3.artifact_stores import S3ArtifactStore

    S3ArtifactStore.makedirs = _nothing


def import_mlflow() -> None:
    """Import mlflow without what it would import and nobody uses.

    It asks for polars at once, though only data sets of polars need it, and does without where polars is not
    installed; whoever else imports polars later gets it. After a step ZenML turns autologging off, which
    nobody has turned on, and for that imports PyTorch and all other frameworks that are installed. Of each
    model that is logged it compares the requirements with what is installed, 0.4 s, for a warning that says
    nothing here: they are the service's lock.
    """
    hidden = "polars" not in sys.modules
    if hidden:
        sys.modules["polars"] = None  # type: ignore[assignment]
    try:
        import mlflow.data
        import mlflow.utils.environment
    finally:
        if hidden:
            del sys.modules["polars"]
    from zenml.integrations.mlflow.experiment_trackers.mlflow_experiment_tracker import (
        MLFlowExperimentTracker,
    )

    MLFlowExperimentTracker.disable_autologging = _nothing
    mlflow.utils.environment.warn_dependency_requirement_mismatches = _nothing


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
