"""The candidates. A model is one file with a settings class and a model class; list it here."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from millrace.contract import Task
from millrace.features import FeatureState, Matrix
from millrace.models.base import Model, TrainingRows
from millrace.models.boosting import LightGBMModel, LightGBMSettings
from millrace.models.forest import RandomForestModel, RandomForestSettings
from millrace.models.linear import LinearModel, LinearSettings

CandidateSettings = Annotated[
    LinearSettings | RandomForestSettings | LightGBMSettings, Field(discriminator="kind")
]
MODELS: dict[str, Any] = {
    "linear": LinearModel,
    "random_forest": RandomForestModel,
    "lightgbm": LightGBMModel,
}


def fit_model(settings: CandidateSettings, rows: TrainingRows, *, seed: int, threads: int) -> Model:
    """Fit the candidate that `settings` describes."""
    model: Model = MODELS[settings.kind].fit(settings, rows, seed=seed, threads=threads)
    return model


def load_model(kind: str, folder: Path, task: Task, state: FeatureState) -> Model:
    """Load a model of `kind` from the files that its `save` wrote."""
    model: Model = MODELS[kind].load(folder, task, state)
    return model


__all__ = ["CandidateSettings", "Matrix", "Model", "TrainingRows", "fit_model", "load_model"]
