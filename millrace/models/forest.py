"""Random forest of scikit-learn, stored by skops."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from millrace import as_lightgbm
from millrace.contract import Task
from millrace.features import FeatureState
from millrace.models import skops_files
from millrace.models.base import TrainingRows, TreeModel, two_classes
from millrace.strict import Strict
from millrace.transforms import Matrix

if TYPE_CHECKING:
    import lightgbm
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

# What skops does not trust by itself.
TRUSTED = ["sklearn.tree._tree.Tree"]
LARGEST = float(np.finfo(np.float32).max)


class RandomForestSettings(Strict):
    """Hyperparameters under scikit-learn's own names."""

    kind: Literal["random_forest"] = "random_forest"
    n_estimators: int = Field(60, ge=1, le=5_000)
    max_features: Literal["sqrt"] | Annotated[float, Field(gt=0, le=1)] = "sqrt"
    min_samples_leaf: int = Field(3, ge=1)


def readable(matrix: Matrix, state: FeatureState) -> Matrix:
    """The dense matrix within what scikit-learn's trees can hold: float32."""
    # Several times as fast as `clip` for a single row.
    return np.maximum(np.minimum(state.dense(matrix), LARGEST), -LARGEST)


class RandomForestModel(TreeModel):
    """A forest on the dense matrix: a category is a column of its own, so their order means nothing."""

    kind = "random_forest"

    def __init__(
        self, forest: "RandomForestRegressor | RandomForestClassifier", task: Task, state: FeatureState
    ) -> None:
        self.forest = forest
        self.task = task
        self.state = state

    @classmethod
    def fit(
        cls, settings: RandomForestSettings, rows: TrainingRows, *, seed: int, threads: int
    ) -> "RandomForestModel":
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        parameters: dict[str, Any] = settings.model_dump(exclude={"kind"})
        make = RandomForestRegressor if rows.task == "regression" else RandomForestClassifier
        forest = make(**parameters, random_state=seed, n_jobs=threads)
        forest.fit(readable(rows.matrix, rows.state), rows.learnt, sample_weight=rows.weights)
        # scikit-learn adds the trees' answers up in the order its threads finish; one thread makes
        # the sum, and so every prediction, the same each time. It also keeps n_jobs out of the file.
        forest.n_jobs = None
        return cls(forest, rows.task, rows.state)

    @cached_property
    def trees(self) -> "lightgbm.Booster":
        return as_lightgbm.of_forest(self.forest, self.forest.n_classes_ if self.task == "multiclass" else 1)

    def read(self, matrix: Matrix) -> Matrix:
        return readable(matrix, self.state).astype(np.float32).astype(np.float64)

    def answer(self, told: Matrix) -> NDArray[np.float64]:
        means = told / len(self.forest.estimators_)
        if self.task == "multiclass":
            return means
        return means[:, 0] if self.task == "regression" else two_classes(means[:, 0])

    def predict(self, matrix: Matrix) -> NDArray[np.float64]:
        dense = readable(matrix, self.state)
        if self.task == "regression":
            return np.asarray(self.forest.predict(dense), dtype=np.float64)
        return np.asarray(self.forest.predict_proba(dense), dtype=np.float64)

    def save(self, folder: Path) -> None:
        skops_files.save(self.forest, folder)

    @classmethod
    def load(cls, folder: Path, task: Task, state: FeatureState) -> "RandomForestModel":
        return cls(skops_files.load(folder, TRUSTED), task, state)
