"""The bundle as a version in MLflow's registry, with the run that explains it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from zenml import get_step_context, step
from zenml.client import Client

from millrace.bundle import CARD, CARD_MARKDOWN, PROVENANCE, Bundle
from millrace.card import head, shown
from millrace.contract import Problem
from millrace.evaluation import Evaluation
from millrace.leaderboard import Leaderboard
from millrace.registry import DIGEST_TAG, Registration, Registry
from millrace.settings import TrainingSettings
from millrace.tuning import TuningResult
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
            source = _log_model(bundle, training_rows)
            mlflow.log_text(shown(bundle.folder, CARD), CARD)
            description = head(shown(bundle.folder, CARD_MARKDOWN))
            found = registry.register(source, run_id, _tags(bundle), description)
        registry.mark_challenger(found.version)
        bundle_artifact = get_step_context().inputs["bundle"][0].id
        link_version(problem.name, found.version, found.digest, bundle_artifact)
    return found


def tracking_uri() -> str:
    """Where the active stack's MLflow is."""
    tracker: Any = Client().active_stack.experiment_tracker
    uri: str = tracker.get_tracking_uri()
    return uri


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
        with mlflow.start_run(run_name=result.candidate, nested=True) as child:
            children[result.candidate] = child.info.run_id
            if result.weights:
                mlflow.log_params({f"weight_{name}": weight for name, weight in result.weights.items()})
            else:
                mlflow.log_params(settings.candidates[result.candidate].model_dump())
            summary = {f"cv_{result.metric_name}": result.metric, f"cv_{result.metric_name}_std": result.std}
            mlflow.log_metrics({**summary, "seconds": result.seconds})
            for number, fold in enumerate(result.folds):
                mlflow.log_metrics({f"fold_{name}": value for name, value in fold.items()}, step=number)
    for tuning in tunings:
        _log_trials(tuning, active.info.experiment_id, children[tuning.candidate])
    with _png_files(plots) as folder:
        mlflow.log_artifacts(str(folder), "plots")
    return active.info.run_id


def _log_trials(tuning: TuningResult, experiment: str, parent: str) -> None:
    """A child run a trial below its candidate's, in one batch: call by call, hundreds would take minutes."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

    client = MlflowClient()
    ended = {"complete": "FINISHED", "pruned": "FINISHED", "failed": "FAILED", "killed": "KILLED"}
    for trial in tuning.trials:
        began = int(trial.started * 1000)
        end = began + int((trial.seconds or 0) * 1000)
        tags = {MLFLOW_PARENT_RUN_ID: parent, "study": tuning.study, "state": trial.state}
        name = f"{tuning.candidate}_trial_{trial.number}"
        run = client.create_run(experiment, began, tags, name).info.run_id
        metrics = [
            Metric(f"fold_{tuning.metric_name}", score, end, step) for step, score in enumerate(trial.scores)
        ]
        if trial.state == "complete":
            metrics.append(Metric(f"tuning_{tuning.metric_name}", trial.metric, end, 0))
        if trial.seconds is not None:
            metrics.append(Metric("seconds", trial.seconds, end, 0))
        params = [Param(key, str(value)) for key, value in trial.parameters.items()]
        client.log_batch(run, metrics, params)
        client.set_terminated(run, ended[trial.state], end)


@contextmanager
def _png_files(plots: dict[str, bytes]) -> Iterator[Path]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for name, png in plots.items():
            (Path(folder) / f"{name}.png").write_bytes(png)
        yield Path(folder)


def _log_model(bundle: Bundle, training_rows: pd.DataFrame) -> str:
    """Log the bundle's folder as a pyfunc model and return its URI.

    With requirements and signature given, MLflow infers nothing, which would take it ten seconds.
    """
    import shutil
    import tempfile

    import mlflow

    from millrace.pyfunc import input_example, signature

    with tempfile.TemporaryDirectory() as scratch:
        # MLflow names the copy after the folder.
        folder = Path(scratch) / "bundle"
        shutil.copytree(bundle.folder, folder)
        logged = mlflow.pyfunc.log_model(
            name="model",
            loader_module="millrace.pyfunc",
            data_path=str(folder),
            code_paths=[str(ROOT / "millrace")],
            signature=signature(bundle.problem),
            input_example=input_example(training_rows, bundle.problem),
            pip_requirements=_requirements(),
        )
    uri: str = logged.model_uri
    return uri


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
