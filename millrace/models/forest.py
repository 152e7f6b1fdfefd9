"""Random forest of scikit-learn."""

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from millrace import as_lightgbm
from millrace.features import FeatureState
from millrace.models.base import TrainingRows, two_classes
from millrace.models.grown import GrownModel
from millrace.strict import Strict
from millrace.transforms import Matrix

if TYPE_CHECKING:
    import lightgbm

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


class RandomForestModel(GrownModel):
    """A forest on the dense matrix: a category is a column of its own, so their order means nothing."""

    kind = "random_forest"
    trusted = ("sklearn.tree._tree.Tree",)

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
    def size(self) -> int:
        """How many trees there are for each output."""
        return int(self.trees.current_iteration())

    def converted(self) -> "lightgbm.Booster":
        outputs = self.estimator.n_classes_ if self.task == "multiclass" else 1
        return as_lightgbm.of_forest(self.estimator, outputs)

    def read(self, matrix: Matrix) -> Matrix:
        return readable(matrix, self.state).astype(np.float32).astype(np.float64)

    def answer(self, told: Matrix) -> NDArray[np.float64]:
        means = told / self.size
        if self.task == "multiclass":
            return means
        return means[:, 0] if self.task == "regression" else two_classes(means[:, 0])

    def asked(self, matrix: Matrix) -> NDArray[np.float64]:
        dense = readable(matrix, self.state)
        if self.task == "regression":
            return np.asarray(self.estimator.predict(dense), dtype=np.float64)
        chances = np.asarray(self.estimator.predict_proba(dense), dtype=np.float64)
        # As the trees tell of it, to the last digit; scikit-learn adds up either class by itself.
        return chances if self.task == "multiclass" else two_classes(chances[:, 1])
