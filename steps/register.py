"""The bundle as a version in MLflow's registry, with the run that explains it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from zenml import get_step_context, step
from zenml.client import Client

from millrace.bundle import PROVENANCE, Bundle
from millrace.contract import Problem
from millrace.evaluation import Evaluation
from millrace.registry import DIGEST_TAG, Registration, Registry
from millrace.settings import TrainingSettings
from steps.locks import registry_lock
from steps.materializers import Plots
from steps.model_control_plane import link_version
from steps.train import Leaderboard

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
) -> Annotated[Registration, "registration"]:
    """Log the run and the bundle to MLflow and add a version, unless this bundle has one already."""
    registry = Registry(problem.name, tracking_uri())
    with registry_lock(problem.name):
        found = registry.find(bundle.digest)
        if found is None:
            plots = {**evaluation_plots, **explanation_plots, **leaderboard_plot}
            run_id = _log_run(settings, leaderboard, evaluation, plots)
            source = _log_model(bundle, training_rows)
            found = registry.register(source, run_id, _tags(bundle), problem.title)
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
    settings: TrainingSettings, leaderboard: Leaderboard, evaluation: Evaluation, plots: dict[str, bytes]
) -> str:
    import mlflow

    active = mlflow.active_run()
    assert active is not None, "the step's experiment tracker starts a run"
    mlflow.log_params(settings.model_dump(exclude={"candidates"}))
    metrics = {f"holdout_{name}": interval.value for name, interval in evaluation.metrics.items()}
    mlflow.log_metrics(metrics)
    for result in leaderboard.results:
        with mlflow.start_run(run_name=result.candidate, nested=True):
            mlflow.log_params(settings.candidates[result.candidate].model_dump())
            summary = {f"cv_{result.metric_name}": result.metric, f"cv_{result.metric_name}_std": result.std}
            mlflow.log_metrics({**summary, "seconds": result.seconds})
            for number, fold in enumerate(result.folds):
                mlflow.log_metrics({f"fold_{name}": value for name, value in fold.items()}, step=number)
    with _png_files(plots) as folder:
        mlflow.log_artifacts(str(folder), "plots")
    return active.info.run_id


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
            pip_requirements=str(ROOT / "requirements" / "serve.txt"),
        )
    uri: str = logged.model_uri
    return uri


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
