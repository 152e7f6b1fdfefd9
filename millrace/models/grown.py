"""Trees that scikit-learn has grown, stored as LightGBM's: to answer then needs no scikit-learn.

To import scikit-learn and skops takes a service seconds of its start, and its own file of trees half a
second more. Only an estimator whose trees are not proved to answer as it does is stored by skops, itself.
"""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from millrace.contract import Task
from millrace.features import FeatureState
from millrace.models import skops_files
from millrace.models.base import TreeModel
from millrace.models.proof import probes, same
from millrace.transforms import Matrix

if TYPE_CHECKING:
    import lightgbm

FILE = "model.txt"


class GrownModel(TreeModel):
    """Answers by the estimator of scikit-learn that was fitted; by its trees alone where these are loaded."""

    # What skops does not trust by itself.
    trusted: ClassVar[Sequence[str]]

    def __init__(
        self, estimator: Any, task: Task, state: FeatureState, trees: "lightgbm.Booster | None" = None
    ) -> None:
        """Without an estimator, None, there are `trees`."""
        self.estimator = estimator
        self.task = task
        self.state = state
        self._trees = trees

    @property
    def trees(self) -> "lightgbm.Booster":
        if self._trees is None:
            self._trees = self.converted()
        return self._trees

    @abstractmethod
    def converted(self) -> "lightgbm.Booster":
        """The estimator's trees as LightGBM's."""

    @abstractmethod
    def asked(self, matrix: Matrix) -> NDArray[np.float64]:
        """What the estimator itself predicts."""

    def predict(self, matrix: Matrix) -> NDArray[np.float64]:
        return self.by_trees(matrix) if self.estimator is None else self.asked(matrix)

    def save(self, folder: Path) -> None:
        if self.estimator is None or self._proved():
            (folder / FILE).write_text(self.trees.model_to_string(), encoding="utf-8")
        else:
            skops_files.save(self.estimator, folder)

    @classmethod
    def load(cls, folder: Path, task: Task, state: FeatureState) -> Self:
        if not (folder / FILE).is_file():
            return cls(skops_files.load(folder, cls.trusted), task, state)
        import lightgbm

        return cls(None, task, state, lightgbm.Booster(model_file=folder / FILE))

    def _proved(self) -> bool:
        rows = probes(self.state)
        return same(self.by_trees(rows), self.asked(rows))
