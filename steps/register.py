"""The bundle as a version in MLflow's registry, with the run that explains it."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from zenml import get_step_context, step

from millrace.bundle import CARD, CARD_MARKDOWN, PROVENANCE, Bundle
from millrace.card import head, shown
from millrace.contract import Problem
from millrace.evaluation import Evaluation
from millrace.leaderboard import Leaderboard
from millrace.registry import DIGEST_TAG, Registration, Registry
from millrace.selection import CandidateResult
from millrace.settings import TrainingSettings
from millrace.tuning import TuningResult
from stacks.tracking import tracking_uri
from steps.locks import registry_lock
from steps.materializers import Plots
from steps.model_control_plane import link_version

ROOT = Path(__file__).parent.parent


@step(experiment_tracker=True)
def register(
    bundle: Bundle,
    training_rows: pd.DataFrame,
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
            run_id = _log_run(settings, leaderboard, evaluation, plots, tunings)
            model_id = _log_model(bundle, training_rows)
            mlflow.log_text(shown(bundle.folder, CARD), CARD)
            description = head(shown(bundle.folder, CARD_MARKDOWN))
            found = registry.register(model_id, run_id, _tags(bundle), description)
        registry.mark_challenger(found.version)
        bundle_artifact = get_step_context().inputs["bundle"][0].id
        link_version(problem.name, found.version, found.digest, bundle_artifact)
    return found


def _log_run(
    settings: TrainingSettings,
    leaderboard: Leaderboard,
    evaluation: Evaluation,
    plots: dict[str, bytes],
    tunings: list[TuningResult],
) -> str:
    import mlflow

    active = mlflow.active_run()
    assert active is not None, "the step's experiment tracker starts a run"
    mlflow.log_params(settings.model_dump(exclude={"candidates", "tuning"}))
    metrics = {f"holdout_{name}": interval.value for name, interval in evaluation.metrics.items()}
    mlflow.log_metrics(metrics)
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
    """A finished run below another one, in four requests: value by value, many would take minutes.

    `began` is in seconds since 1970, now if not given. Returns the run's id.
    """
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

    client = MlflowClient()
    start = int((time.time() if began is None else began) * 1000)
    end = start + int(seconds * 1000)
    run: str = client.create_run(
        experiment, start, {MLFLOW_PARENT_RUN_ID: parent, **(tags or {})}, name
    ).info.run_id
    client.log_batch(run, params=[Param(key, str(value)) for key, value in params.items()])
    # MLflow takes a thousand at once.
    for first in range(0, len(metrics), 1000):
        batch = metrics[first : first + 1000]
        client.log_batch(run, [Metric(key, value, end, step) for key, value, step in batch])
    client.set_terminated(run, status, end)
    return run


@contextmanager
def _png_files(plots: dict[str, bytes]) -> Iterator[Path]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for name, png in plots.items():
            (Path(folder) / f"{name}.png").write_bytes(png)
        yield Path(folder)


def _log_model(bundle: Bundle, training_rows: pd.DataFrame) -> str:
    """Log the bundle's folder as a pyfunc model and return its id.

    With requirements and signature given, MLflow infers nothing, which would take it ten seconds.
    """
    import shutil
    import tempfile

    import mlflow

    from millrace.pyfunc import input_example, pack_code, signature

    with tempfile.TemporaryDirectory() as scratch:
        # MLflow names the copy after the folder.
        folder = Path(scratch) / "bundle"
        shutil.copytree(bundle.folder, folder)
        logged = mlflow.pyfunc.log_model(
            name="model",
            loader_module="millrace.pyfunc",
            data_path=str(folder),
            code_paths=[str(pack_code(Path(scratch)))],
            signature=signature(bundle.problem),
            input_example=input_example(training_rows, bundle.problem),
            pip_requirements=_requirements(),
        )
    model_id: str = logged.model_id
    return model_id


def _requirements() -> list[str]:
    """What the service is locked to. MLflow adds itself, without a hash, so none may have one."""
    lock = (ROOT / "requirements" / "serve.txt").read_text(encoding="utf-8")
    return re.findall(r"^\S+==\S+", lock, re.MULTILINE)


def _tags(bundle: Bundle) -> dict[str, str]:
    provenance = bundle.read(PROVENANCE)
    run = get_step_context().pipeline_run
    revision = provenance["data"].get("dvc", {})
    return {
        DIGEST_TAG: bundle.digest,
        "data_digest": provenance["data"]["digest"],
        "data_origin": provenance["data"]["origin"],
        **{f"data_{name}": value for name, value in revision.items()},
        "git_revision": provenance["git_revision"] or "unknown",
        "zenml_run_id": str(run.id),
        "zenml_run_name": run.name,
    }
