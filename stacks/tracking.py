"""The active stack's MLflow."""

from typing import Any


def tracking_uri() -> str:
    """Where MLflow is; credentials for a server are put into the environment, where its client looks."""
    from zenml.client import Client

    tracker: Any = Client().active_stack.experiment_tracker
    tracker.configure_mlflow()
    uri: str = tracker.get_tracking_uri()
    return uri
