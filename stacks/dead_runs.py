"""Runs whose process was killed: ZenML and MLflow would show them as running for ever.

Each run carries the process that makes it: host, pid and the process' start time. At the next start,
those of this host whose process is gone are marked as failed, and noted for Prometheus as such.
"""

import os
import socket
from datetime import UTC, datetime
from typing import Any

from stacks.outcomes import SUBJECT, Subject, fail
from stacks.tracking import tracking_uri

# As ZenML's filters take a list: JSON.
OPEN_STATES = '["initializing", "provisioning", "running", "retrying"]'
GONE = "its process is gone"


def this_process() -> dict[str, Any]:
    """What identifies the running process, for the run's `extra`."""
    import psutil

    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
    }


def mark_dead_runs() -> list[str]:
    """Mark this host's runs without a living process as failed, and return their names."""
    from zenml.client import Client
    from zenml.enums import ExecutionStatus
    from zenml.models import PipelineRunUpdate, StepRunUpdate

    client = Client()
    dead = []
    for run in client.list_pipeline_runs(status=f"oneof:{OPEN_STATES}", size=500, hydrate=True).items:
        if not is_dead(run.config.extra.get("process")):
            continue
        for step in client.list_run_steps(pipeline_run_id=run.id, status=f"oneof:{OPEN_STATES}").items:
            failed = StepRunUpdate(status=ExecutionStatus.FAILED, end_time=datetime.now(UTC))
            client.zen_store.update_run_step(step.id, failed)
        update = PipelineRunUpdate(status=ExecutionStatus.FAILED, status_reason=GONE)
        client.zen_store.update_run(run.id, update)
        if SUBJECT in run.config.extra:
            fail(Subject.model_validate(run.config.extra[SUBJECT]), None, GONE)
        dead.append(run.name)
    if dead:
        _end_mlflow_runs(dead)
    return dead


def _end_mlflow_runs(names: list[str]) -> None:
    """Mark the MLflow runs of dead ZenML runs, and their children, as killed."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri())
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    running = client.search_runs(experiments, "attributes.status = 'RUNNING'") if experiments else []
    parents = {run.info.run_id for run in running if run.info.run_name in names}
    for run in running:
        if parents & {run.info.run_id, run.data.tags.get("mlflow.parentRunId")}:
            client.set_terminated(run.info.run_id, "KILLED")


def is_dead(process: Any) -> bool:
    """Whether a process that `this_process` told of was of this host and has ended."""
    import psutil

    if not process or process["host"] != socket.gethostname():
        return False
    try:
        # A pid is used again in time; the start time tells the processes apart.
        return bool(abs(psutil.Process(process["pid"]).create_time() - process["started"]) > 1)
    except psutil.NoSuchProcess:
        return True
