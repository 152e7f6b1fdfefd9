"""Three things that make ZenML 0.98's local runs quick.

Two replace a function of a library from outside; tests/stacks/test_quickstart.py fails when a new
ZenML makes them needless or wrong.
"""

import functools
import importlib.metadata
import sqlite3
from typing import Any


def apply() -> None:
    """Make ZenML's start and steps quick; calling it again changes nothing."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine
    from zenml.integrations.registry import IntegrationRegistry

    if not event.contains(Engine, "connect", _write_ahead):
        event.listen(Engine, "connect", _write_ahead)
    # ZenML asks about once a step which distribution each module belongs to, 0.2 s each time, and
    # what is installed does not change during a run.
    if not hasattr(importlib.metadata.packages_distributions, "cache_info"):
        memoised = functools.lru_cache(importlib.metadata.packages_distributions)
        importlib.metadata.packages_distributions = memoised
    # Before each run it imports every integration that is installed (mlflow, bentoml, lightgbm: 3-10 s)
    # to register their materializers. We name ours; flavors of stack components load when used.
    IntegrationRegistry.activate_integrations = _nothing


def _nothing(_: object) -> None:
    """Activate no integration."""


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
