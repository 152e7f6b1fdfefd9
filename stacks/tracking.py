"""Where a stack's MLflow is: of the active stack as ZenML has it, of another one by its file."""

import os
from pathlib import Path
from typing import Any

from millrace.errors import UserError
from stacks import probes
from stacks.stack_files import Stack

# What MLflow's client looks for in the environment, by the tracker's own names.
CREDENTIALS = {
    "tracking_username": "MLFLOW_TRACKING_USERNAME",
    "tracking_password": "MLFLOW_TRACKING_PASSWORD",
    "tracking_token": "MLFLOW_TRACKING_TOKEN",
}
# What ZenML calls the database where a tracker has no URI, in the local artifact store.
LOCAL_DATABASE = "mlflow.db"


def tracking_uri() -> str:
    """Where MLflow is; credentials for a server are put into the environment, where its client looks."""
    from zenml.client import Client

    tracker: Any = Client().active_stack.experiment_tracker
    tracker.configure_mlflow()
    uri: str = tracker.get_tracking_uri()
    return uri


def tracking_uri_of(stack: Stack) -> str | None:
    """The same for a stack that ZenML is not opened for; None where nothing was ever kept.

    Raises:
        UserError: its server does not answer, or does not take the credentials.
    """
    tracker = stack.components["experiment_tracker"]
    try:
        for _ in probes.mlflow(stack, tracker, patience=20):
            pass
        configuration = probes.with_secrets(tracker)
    except probes.FaultError as fault:
        raise UserError(f"The stack '{stack.name}': {fault.found}. {fault.remedy}") from None
    for key, variable in CREDENTIALS.items():
        if configuration.get(key):
            os.environ[variable] = configuration[key]
    uri: str | None = configuration.get("tracking_uri")
    if uri:
        return uri
    # MLflow's client would make the database.
    database = Path(stack.components["artifact_store"].configuration["path"]).absolute() / LOCAL_DATABASE
    return f"sqlite:///{database}" if database.is_file() else None
