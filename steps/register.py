"""The bundle as a version in MLflow's registry, with the run that explains it."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import pandas as pd
from zenml import get_step_context, step

from millrace.bundle import CARD, CARD_MARKDOWN, Bundle
from millrace.card import head, shown
from millrace.contract import Problem
from millrace.evaluation import Evaluation
from millrace.leaderboard import Leaderboard
from millrace.pyfunc import signature
from millrace.registry import Registration, Registry
from millrace.selection import CandidateResult
from millrace.settings import TrainingSettings
from millrace.tuning import TuningResult
from stacks.tracking import tracking_uri
from steps.locks import registry_lock
from steps.materializers import Plots
from steps.model_control_plane import link_version
from steps.model_version import log_model, version_tags

# MLflow's name of what a table is to a run, by our input of the step.
CONTEXTS = {"training_rows": "training", "holdout_rows": "evaluation"}
# It takes no more of a digest.
DIGEST_LENGTH = 36


@step(experiment_tracker=True)
def register(
    bundle: Bundle,
    training_rows: pd.DataFrame,
    holdout_rows: pd.DataFrame,  # noqa: ARG001 - which artifact it is, is what matters here
    problem: Problem,
    settings: TrainingSettings,
    leaderboard: Leaderboard,
    evaluation: Evaluation,
    evaluation_plots: Plots,
    explanation_plots: Plots,
    leaderboard_plot: Plots,
    tunings: list[TuningResult],
) -> Annotated[Registration, "registration"]:
    """Log the run and the bundle to MLflow and add a version, unless this bundle has one already."""
    import mlflow

    registry = Registry(problem.name, tracking_uri())
    with registry_lock(problem.name):
        found = registry.find(bundle.digest)
        if found is None:
            plots = {**evaluation_plots, **explanation_plots, **leaderboard_plot}
            tags = version_tags(bundle)
            run_id = _log_run(settings, leaderboard, evaluation, plots, tunings, tags)
            _log_tables(problem)
            model_id = log_model(bundle, training_rows)
            mlflow.log_text(shown(bundle.folder, CARD), CARD)
            description = head(shown(bundle.folder, CARD_MARKDOWN))
            found = registry.register(model_id, run_id, tags, description)
        registry.mark_challenger(found.version)
        context = get_step_context()
        bundle_artifact = context.inputs["bundle"][0].id
        link_version(problem.name, found.version, found.digest, bundle_artifact, context.pipeline_run.id)
    return found


def _log_run(
    settings: TrainingSettings,
    leaderboard: Leaderboard,
    evaluation: Evaluation,
    plots: dict[str, bytes],
    tunings: list[TuningResult],
    tags: dict[str, str],
) -> str:
    """The active run: how it was set, how the model did, where it comes from; a child run a candidate."""
    import mlflow
    from mlflow import MlflowClient
    from mlflow.entities import Metric, RunTag

    active = mlflow.active_run()
    assert active is not None, "the step's experiment tracker starts a run"
    now = int(time.time() * 1000)
    MlflowClient().log_batch(
        active.info.run_id,
        [Metric(f"holdout_{name}", held.value, now, 0) for name, held in evaluation.metrics.items()],
        _params(settings.model_dump(exclude={"candidates", "tuning"})),
        [RunTag(name, value) for name, value in tags.items()],
    )
    children = {}
    for result in leaderboard.results:
        params: dict[str, Any] = {f"weight_{name}": weight for name, weight in result.weights.items()}
        children[result.candidate] = _log_child(
            active.info.experiment_id,
            active.info.run_id,
            result.candidate,
            params or settings.candidates[result.candidate].model_dump(),
            _cross_validation(result),
        )
    for tuning in tunings:
        _log_trials(tuning, active.info.experiment_id, children[tuning.candidate])
    with _png_files(plots) as folder:
        mlflow.log_artifacts(str(folder), "plots")
    return active.info.run_id


def _log_tables(problem: Problem) -> None:
    """The tables that the model was fitted on and judged by, as inputs of the active run.

    Each by its digest, and by where ZenML keeps it: `mlflow.data.get_source(...).load()` gets it there.
    """
    import mlflow
    from mlflow.data.dataset_source_registry import get_dataset_source_from_json
    from mlflow.data.meta_dataset import MetaDataset

    columns = signature(problem).inputs
    inputs = get_step_context().inputs
    datasets = []
    for name in CONTEXTS:
        artifact = inputs[name][0]
        kind = urlsplit(artifact.uri).scheme or "local"
        source = get_dataset_source_from_json(json.dumps({"uri": artifact.uri}), kind)
        digest = str(artifact.run_metadata["digest"])[:DIGEST_LENGTH]
        title = f"{problem.name}, {name.replace('_', ' ')}"
        datasets.append(MetaDataset(source, title, digest, columns))
    mlflow.log_inputs(datasets, list(CONTEXTS.values()), [None] * len(datasets))


def _cross_validation(result: CandidateResult) -> list[tuple[str, float, int]]:
    """A candidate's metrics: name, value and, of a fold, its number."""
    summary = {
        f"cv_{result.metric_name}": result.metric,
        f"cv_{result.metric_name}_std": result.std,
        "seconds": result.seconds,
    }
    folds = [
        (f"fold_{name}", value, number)
        for number, fold in enumerate(result.folds)
        for name, value in fold.items()
    ]
    return [*((name, value, 0) for name, value in summary.items()), *folds]


def _log_trials(tuning: TuningResult, experiment: str, parent: str) -> None:
    """A child run a trial below its candidate's."""
    ended = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED", "killed": "KILLED"}
    for trial in tuning.trials:
        metrics = [(f"fold_{tuning.metric_name}", score, step) for step, score in enumerate(trial.scores)]
        if trial.state == "complete":
            metrics.append((f"tuning_{tuning.metric_name}", trial.metric, 0))
        if trial.seconds is not None:
            metrics.append(("seconds", trial.seconds, 0))
        _log_child(
            experiment,
            parent,
            f"{tuning.candidate}_trial_{trial.number}",
            trial.parameters,
            metrics,
            tags={"study": tuning.study, "state": trial.state},
            status=ended[trial.state],
            began=trial.started,
            seconds=trial.seconds or 0,
        )


def _log_child(
    experiment: str,
    parent: str,
    name: str,
    params: dict[str, Any],
    metrics: list[tuple[str, float, int]],
    *,
    tags: dict[str, str] | None = None,
    status: str = "FINISHED",
    began: float | None = None,
    seconds: float = 0,
) -> str:
    """A finished run below another one, in three requests: value by value, many would take minutes.

    `began` is in seconds since 1970, now if not given. Returns the run's id.
    """
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

    client = MlflowClient()
    start = int((time.time() if began is None else began) * 1000)
    end = start + int(seconds * 1000)
    run: str = client.create_run(
        experiment, start, {MLFLOW_PARENT_RUN_ID: parent, **(tags or {})}, name
    ).info.run_id
    measured = [Metric(key, value, end, step) for key, value, step in metrics]
    # MLflow takes a thousand entries at once, of all kinds.
    room = 1000 - len(params)
    client.log_batch(run, measured[:room], _params(params))
    for first in range(room, len(measured), 1000):
        client.log_batch(run, measured[first : first + 1000])
    client.set_terminated(run, status, end)
    return run


def _params(values: dict[str, Any]) -> list[Any]:
    from mlflow.entities import Param

    return [Param(key, str(value)) for key, value in values.items()]


@contextmanager
def _png_files(plots: dict[str, bytes]) -> Iterator[Path]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for name, png in plots.items():
            (Path(folder) / f"{name}.png").write_bytes(png)
        yield Path(folder)
