"""LightGBM gradient boosting, stored as LightGBM's own text."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from millrace.contract import Task
from millrace.features import FeatureState
from millrace.models.base import TrainingRows, TreeModel, two_classes
from millrace.strict import Strict
from millrace.transforms import Matrix

if TYPE_CHECKING:
    import lightgbm

FILE = "model.txt"
# Below this, handing work to another thread some 50,000 times a fit costs more than it saves: up to
# twenty times the fit itself on virtual machines, whose processors are slow to wake.
ROWS_PER_THREAD = 200_000
OBJECTIVES: dict[Task, str] = {
    "regression": "regression",
    "binary": "binary",
    "multiclass": "multiclass",
}


class LightGBMSettings(Strict):
    """Hyperparameters under LightGBM's own names.

    The defaults hold RMSE on California Housing under 0.385 (100k USD) without tuning: docs/accuracy.md.
    Each tree is grown on a share of the columns, and on another share of the rows.
    """

    kind: Literal["lightgbm"] = "lightgbm"
    n_estimators: int = Field(1000, ge=1, le=20_000)
    learning_rate: float = Field(0.04, gt=0, le=1)
    num_leaves: int = Field(40, ge=2, le=4096)
    min_child_samples: int = Field(20, ge=1)
    colsample_bytree: float = Field(0.4, gt=0, le=1)
    subsample: float = Field(0.8, gt=0, le=1)
    reg_lambda: float = Field(0.0, ge=0, allow_inf_nan=False)


def parameters(
    settings: LightGBMSettings, about: TrainingRows, rows: int, *, seed: int, threads: int
) -> dict[str, Any]:
    """What LightGBM is told when it grows trees on so many rows that are like those of `about`."""
    told: dict[str, Any] = settings.model_dump(exclude={"kind", "n_estimators"})
    told |= {
        "objective": OBJECTIVES[about.task],
        # Other rows for every tree, where `subsample` leaves some out.
        "bagging_freq": 1,
        "seed": seed,
        "num_threads": min(threads, 1 + rows // ROWS_PER_THREAD),
        "verbosity": -1,
        # The same trees whatever the number of threads: a bundle can be reproduced bit for bit.
        "deterministic": True,
        "force_row_wise": True,
    }
    if about.task == "multiclass":
        told["num_class"] = len(about.problem.classes)
    if any(about.monotonic):
        told["monotone_constraints"] = about.monotonic
    return told


class LightGBMModel(TreeModel):
    """A booster; missing values and categories are handled by the trees themselves."""

    kind = "lightgbm"
    keeps_monotonic = True

    def __init__(self, booster: "lightgbm.Booster", task: Task) -> None:
        self.booster = booster
        self.task = task

    @classmethod
    def fit(
        cls, settings: LightGBMSettings, rows: TrainingRows, *, seed: int, threads: int
    ) -> "LightGBMModel":
        import lightgbm

        data = lightgbm.Dataset(
            rows.matrix,
            rows.learnt,
            weight=rows.weights,
            feature_name=[f"f{i}" for i in range(rows.matrix.shape[1])],
            categorical_feature=rows.state.categorical,
        )
        told = parameters(settings, rows, len(rows.matrix), seed=seed, threads=threads)
        booster = lightgbm.train(told, data, num_boost_round=settings.n_estimators)
        return cls(booster, rows.task)

    @property
    def trees(self) -> "lightgbm.Booster":
        return self.booster

    def answer(self, told: Matrix) -> NDArray[np.float64]:
        if self.task == "multiclass":
            return told
        return told[:, 0] if self.task == "regression" else two_classes(told[:, 0])

    def predict(self, matrix: Matrix) -> NDArray[np.float64]:
        return self.by_trees(matrix)

    def save(self, folder: Path) -> None:
        text = self.booster.model_to_string()
        # How many threads trained it is no part of the model: any machine must write the same file.
        text = re.sub(r"^\[num_threads: \d+\]$", "[num_threads: 0]", text, flags=re.MULTILINE)
        (folder / FILE).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, task: Task, state: FeatureState) -> "LightGBMModel":
        import lightgbm

        return cls(lightgbm.Booster(model_file=str(folder / FILE)), task)
