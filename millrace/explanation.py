"""SHAP values: what each feature adds to a prediction.

Values are on the model's own scale: the target's unit for regression; log-odds for LightGBM and the
logistic model, probability for the forest. Contributions and base value add up to the prediction.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from millrace.bundle import FittedModel
from millrace.contract import Strict
from millrace.features import Matrix
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
    filled = readable(matrix, model.state)
    values = np.asarray(explainer.shap_values(filled, check_additivity=False))
    base = np.atleast_1d(np.asarray(explainer.expected_value, dtype=np.float64))
    if values.ndim == 2:
        return values[:, :, None], base
    return (values[:, :, 1:], base[1:]) if model.task == "binary" else (values, base)


def _linear(model: LinearModel, matrix: Matrix) -> tuple[Floats, Floats]:
    """Coefficient times distance from the mean, one-hot columns summed back to their feature."""
    import shap

    encode, estimator = model.pipeline.steps[0][1], model.pipeline.steps[1][1]
    encoded = encode.transform(model.state.fill(matrix))
    explainer = shap.LinearExplainer(estimator, shap.maskers.Independent(encoded, max_samples=len(encoded)))
    values = np.asarray(explainer.shap_values(encoded))
    values = values[:, :, None] if values.ndim == 2 else values
    origin = _encoded_origin(model)
    summed = np.zeros((len(matrix), matrix.shape[1], values.shape[2]))
    for position, source in enumerate(origin):
        summed[:, source] += values[:, position]
    return summed, np.atleast_1d(np.asarray(explainer.expected_value, dtype=np.float64))


def _encoded_origin(model: LinearModel) -> list[int]:
    """For each column the linear model sees, the matrix column it was made from."""
    categorical = model.state.categorical
    numeric = [i for i in range(len(model.state.inputs)) if i not in categorical]
    one_hot: list[Any] = [i for i in categorical for _ in model.state.inputs[i].categories]
    return numeric + one_hot
