"""The candidates. A model is one file with a settings class and a model class; list it here."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from millrace.contract import Task
from millrace.features import FeatureState
from millrace.models.base import Model, TrainingRows
from millrace.models.blend import BlendModel
from millrace.models.boosting import LightGBMModel, LightGBMSettings
from millrace.models.forest import RandomForestModel, RandomForestSettings
from millrace.models.hist_boosting import HistBoostingModel, HistBoostingSettings
from millrace.models.linear import LinearModel, LinearSettings
from millrace.models.neighbour_network import NeighbourNetworkModel, NeighbourNetworkSettings
from millrace.models.network import NetworkModel, NetworkSettings
from millrace.transforms import Matrix

CandidateSettings = Annotated[
    LinearSettings
    | RandomForestSettings
    | HistBoostingSettings
    | LightGBMSettings
    | NetworkSettings
    | NeighbourNetworkSettings,
    Field(discriminator="kind"),
]
MODELS: dict[str, Any] = {
    "linear": LinearModel,
    "random_forest": RandomForestModel,
    "hist_boosting": HistBoostingModel,
    "lightgbm": LightGBMModel,
    "network": NetworkModel,
    "neighbour_network": NeighbourNetworkModel,
    "blend": BlendModel,  # Of the others: `millrace.stacking` makes it.
}


def fit_model(settings: CandidateSettings, rows: TrainingRows, *, seed: int, threads: int) -> Model:
    """Fit the candidate that `settings` describes."""
    model: Model = MODELS[settings.kind].fit(settings, rows, seed=seed, threads=threads)
    return model


def keeps_monotonic(kind: str) -> bool:
    """Whether predictions of models of this kind never turn along the contract's `monotonic` columns."""
    return getattr(MODELS.get(kind), "keeps_monotonic", False)


def load_model(kind: str, folder: Path, task: Task, state: FeatureState) -> Model:
    """Load a model of `kind` from the files that its `save` wrote."""
    model: Model = MODELS[kind].load(folder, task, state)
    return model


__all__ = [
    "CandidateSettings",
    "Matrix",
    "Model",
    "TrainingRows",
    "fit_model",
    "keeps_monotonic",
    "load_model",
]
