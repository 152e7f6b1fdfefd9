"""Opening ZenML for a run: the store, the stack for this process alone, and what died before."""

import logging
import os
import sys
from pathlib import Path

from filelock import FileLock

from stacks import environment, quickstart
from stacks.dead_runs import mark_dead_runs
from stacks.progress import StepLines, show_steps
from stacks.registration import register_stack
from stacks.stack_files import Stack


def open_stack(stack: Stack) -> tuple[StepLines, list[str]]:
    """Make `stack` this process' active stack; return the progress lines and runs found dead.

    What was changed to make ZenML's stack match the file is told on standard error. The user's own active
    stack stays what it is: only an environment variable of this process says otherwise. The lock is for
    first starts: two processes that create the store at once fail with "database has never been migrated".
    """
    quickstart.apply()
    folder = Path(os.environ["ZENML_CONFIG_PATH"])
    with FileLock(folder / "millrace-start.lock"):
        _quiet()
        from zenml.client import Client
        from zenml.utils import source_utils

        lines = show_steps()
        first = stack.server is None and not any(folder.rglob("zenml.db"))
        if first:
            print("First start: setting up the local ZenML store, about ten seconds.", file=sys.stderr)
        source_utils.set_custom_source_root(str(environment.ROOT))
        _ = Client().zen_store
        quickstart.forget_secrets()
        os.environ["ZENML_ACTIVE_STACK_ID"], changes = register_stack(stack)
        quickstart.forget_secrets()
        if stack.components["artifact_store"].flavor == "s3":
            quickstart.apply_to_s3()
        if not first:
            for change in changes:
                print(f"  {stack.name}: {change}", file=sys.stderr)
        return lines, mark_dead_runs()


def _quiet() -> None:
    """Silence loggers that talk to developers of the library, not to its users."""
    for name in ("alembic", "sqlalchemy", "great_expectations", "bentoml", "mlflow", "shap", "matplotlib"):
        logging.getLogger(name).setLevel(logging.ERROR)
