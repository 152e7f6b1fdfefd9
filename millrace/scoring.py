"""Encoded rows to predictions, at the cost of the trees: what a service answers with.

The same predictions as by `FittedModel`, made for single rows and for a processor that others use, too:
trees of any kind are computed by LightGBM, in the caller's thread alone, or by compiled code that was proved
to give the same bits. A model of another kind answers itself.
"""

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from millrace.bundle import FittedModel
from millrace.explanation import Contributions, explain
from millrace.metrics import Floats
from millrace.models import Model
from millrace.models.base import TreeModel
from millrace.models.blend import BlendModel
from millrace.models.proof import probes, same
from millrace.scales import to_unit
from millrace.single_row import SingleRow
from millrace.transforms import Matrix

if TYPE_CHECKING:
    from millrace.quickscorer import QuickScorer

log = logging.getLogger(__name__)
Answer = Callable[[Matrix], Floats]


class Scorer:
    """Predicts and explains for encoded rows, in any thread."""

    def __init__(self, fitted: FittedModel) -> None:
        """Build all that is the same for every request: search trees, boosters, handles."""
        self.fitted = fitted
        self._probes = probes(fitted.state)
        self._trees: list[_Trees] = []
        self._answer = self._quick(fitted.model, self._probes)

    def compile(self, inputs: Matrix) -> bool:
        """Compile the trees, where on rows [rows, inputs] they then answer with LightGBM's very bits.

        It takes seconds, and several rows then a fraction of the time. Whether all trees are compiled.
        """
        proof = np.vstack([self._probes, self.fitted.state.expand(inputs)])
        compiled = [trees.compile(proof) for trees in self._trees]
        return bool(compiled) and all(compiled)

    def predict(self, inputs: Matrix) -> Floats:
        """Values [rows] in the target's unit, or probabilities [rows, classes], for rows [rows, inputs]."""
        matrix = self.fitted.state.expand(inputs)
        return to_unit(self._answer(matrix), self.fitted.problem.target)

    def explain(self, inputs: Matrix) -> Contributions:
        """What made the predictions for rows [rows, inputs]: see `millrace.explanation.explain`."""
        return explain(self.fitted, self.fitted.state.expand(inputs), threads=1)

    def _quick(self, model: Model, rows: Matrix) -> Answer:
        """A quick way to a model's answers, or the model's own where that is not proved to be the same."""
        if isinstance(model, BlendModel):
            known = np.vstack([rows, model.background])
            weights = [member.weight for member in model.members]
            answers = [self._quick(member.model, known) for member in model.members]

            def mean(matrix: Matrix) -> Floats:
                parts = (weight * answer(matrix) for weight, answer in zip(weights, answers, strict=True))
                return np.asarray(sum(parts))

            return mean
        if not isinstance(model, TreeModel):
            return model.predict
        trees = _Trees(model)
        if _same(trees, model.predict, rows):
            self._trees.append(trees)
            return trees
        log.warning(
            "%s answers otherwise than its trees do; it is asked itself, which is slower.", model.kind
        )
        return model.predict


class _Trees:
    """A model by its trees: one row by a handle of the thread's own, several by LightGBM's own way."""

    def __init__(self, model: TreeModel) -> None:
        self._model, self._booster = model, model.trees
        self._own = threading.local()
        self._compiled: QuickScorer | None = None

    def __call__(self, matrix: Matrix) -> Floats:
        rows = self._model.read(matrix)
        return self._model.answer(self._one(rows) if len(rows) == 1 else self._many(rows))

    def _one(self, row: Matrix) -> Matrix:
        single: SingleRow | None = getattr(self._own, "single", None)
        if single is None:
            single = self._own.single = SingleRow(self._booster)
        return single(row)

    def compile(self, matrix: Matrix) -> bool:
        """Compile the trees if that is possible, and proved by rows of the matrix to be the same."""
        from millrace.quickscorer import QuickScorer

        compiled, rows = QuickScorer.of(self._booster), self._model.read(matrix)
        if compiled is not None and np.array_equal(compiled(rows), self._many(rows)):
            self._compiled = compiled
        return self._compiled is not None

    def _many(self, rows: Matrix) -> Matrix:
        if self._compiled is not None:
            return self._compiled(rows)
        told = np.asarray(self._booster.predict(rows, num_threads=1), dtype=np.float64)
        return told.reshape(len(rows), -1)


def _same(quick: Answer, own: Answer, rows: Matrix) -> bool:
    expected = own(rows)
    several, one = quick(rows), np.concatenate([quick(row[None]) for row in rows])
    return same(several, expected) and same(one, expected)
