"""SHAP values: what each feature adds to a prediction.

Values are on the model's own scale, which `scale` names. Contributions and base value add up to the
prediction on it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from millrace.bundle import FittedModel
from millrace.contract import Strict
from millrace.features import FeatureState, Matrix
from millrace.metrics import Floats
from millrace.models import Model
from millrace.models.boosting import LightGBMModel
from millrace.models.forest import RandomForestModel, readable
from millrace.models.linear import LinearModel

if TYPE_CHECKING:
    import shap

FOREST_ROWS = 50


class Importance(Strict):
    """A feature's mean absolute contribution over the explained rows."""

    feature: str
    value: float


@dataclass(frozen=True)
class Contributions:
    """`values` [rows, features, outputs] and `base` [outputs]; one output for regression and binary."""

    values: NDArray[np.float64]
    base: NDArray[np.float64]
    matrix: Matrix
    names: list[str]

    @property
    def importance(self) -> list[Importance]:
        """Features by mean absolute contribution over rows and outputs, largest first."""
        means = np.abs(self.values).mean(axis=(0, 2))
        return [
            Importance(feature=self.names[i], value=float(means[i]))
            for i in np.argsort(-means, kind="stable")
        ]

    def for_output(self, output: int) -> "shap.Explanation":
        """One output's contributions in shap's own class, for its plots."""
        import shap

        base = np.full(len(self.values), self.base[output])
        return shap.Explanation(
            self.values[:, :, output], base_values=base, data=self.matrix, feature_names=self.names
        )


def explain(fitted: FittedModel, matrix: Matrix) -> Contributions:
    """Contributions of every feature for the rows of `matrix`; a forest's first 50, as it is slow."""
    model = fitted.model
    if isinstance(model, RandomForestModel):
        matrix = matrix[:FOREST_ROWS]
    values, base = _contributions(model, matrix)
    return Contributions(values, base, matrix, fitted.state.names)


def scale(fitted: FittedModel) -> str:
    """What contributions are measured in."""
    target, kind = fitted.problem.target, fitted.model.kind
    if fitted.problem.task == "regression":
        unit = f" in {target.unit}" if target.unit else ""
        return f"log(1 + {target.name}{unit})" if target.transform else f"{target.name}{unit}"
    of = f" of '{fitted.problem.classes[1]}'" if fitted.problem.task == "binary" else ""
    return f"{'probability' if kind == RandomForestModel.kind else 'log-odds'}{of}"


def _contributions(model: Model, matrix: Matrix) -> tuple[Floats, Floats]:
    if isinstance(model, LightGBMModel):
        return _boosting(model, matrix)
    if isinstance(model, RandomForestModel):
        return _forest(model, matrix)
    if isinstance(model, LinearModel):
        return _linear(model, matrix)
    raise TypeError(f"No explainer for models of kind {model.kind}.")


def _boosting(model: LightGBMModel, matrix: Matrix) -> tuple[Floats, Floats]:
    """LightGBM's exact TreeSHAP (Lundberg et al., 2020, doi:10.1038/s42256-019-0138-9)."""
    raw = np.asarray(model.booster.predict(matrix, pred_contrib=True))
    blocks = raw.reshape(len(matrix), -1, matrix.shape[1] + 1)
    return blocks[:, :, :-1].transpose(0, 2, 1), blocks[0, :, -1]


def _forest(model: RandomForestModel, matrix: Matrix) -> tuple[Floats, Floats]:
    import shap

    explainer = shap.TreeExplainer(model.forest)
    values = np.asarray(explainer.shap_values(readable(matrix, model.state), check_additivity=False))
    base = np.atleast_1d(np.asarray(explainer.expected_value, dtype=np.float64))
    if values.ndim == 2:
        return _by_input(values[:, :, None], model.state), base
    if model.task == "binary":
        values, base = values[:, :, 1:], base[1:]
    return _by_input(values, model.state), base


def _linear(model: LinearModel, matrix: Matrix) -> tuple[Floats, Floats]:
    """Coefficient times distance from the mean."""
    import shap

    scaler, estimator = model.pipeline.steps[0][1], model.pipeline.steps[1][1]
    scaled = scaler.transform(model.state.dense(matrix))
    explainer = shap.LinearExplainer(estimator, shap.maskers.Independent(scaled, max_samples=len(scaled)))
    values = np.asarray(explainer.shap_values(scaled))
    values = values[:, :, None] if values.ndim == 2 else values
    return _by_input(values, model.state), np.atleast_1d(
        np.asarray(explainer.expected_value, dtype=np.float64)
    )


def _by_input(values: Floats, state: FeatureState) -> Floats:
    """Contributions of the dense matrix' columns, summed to those of the features they were made from."""
    summed = np.zeros((len(values), len(state.inputs), values.shape[2]))
    for position, source in enumerate(state.dense_sources):
        summed[:, source] += values[:, position]
    return summed
