"""SHAP values: what each feature adds to a prediction.

Values are on the scale that `scale` names. Contributions and base value add up to the prediction on
it, for every kind of model. All that is needed is in the bundle, and the service has no shap: linear
models and trees are explained exactly by what they are made of, the others by their answers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from millrace import as_lightgbm
from millrace.bundle import EXPLANATION, Bundle, FittedModel
from millrace.contract import Problem
from millrace.features import FeatureState
from millrace.metrics import Floats
from millrace.models import Model
from millrace.models.base import TreeModel
from millrace.models.blend import BlendModel
from millrace.models.forest import RandomForestModel
from millrace.models.linear import LinearModel
from millrace.models.neighbour_network import NeighbourNetworkModel
from millrace.models.network import NetworkModel
from millrace.strict import Strict
from millrace.transforms import Matrix

if TYPE_CHECKING:
    import shap

# How many rows a service explains at once at most.
MAX_EXPLAINED = 100
# The same, and for reports, where one row takes a tenth of a second and more.
FOREST_ROWS, SAMPLED_ROWS = 50, 30
# Kinds that do not answer in log-odds, or whose parts do not.
PROBABILITIES = {RandomForestModel.kind, BlendModel.kind, NeighbourNetworkModel.kind}


class Importance(Strict):
    """A feature's mean absolute contribution over the explained rows."""

    feature: str
    value: float


class Output(Strict):
    """One output of one row: `base` and all `contributions` add up to `prediction`."""

    name: str
    base: float
    contributions: dict[str, float]
    prediction: float


class Explanation(Strict):
    """What made the prediction of one row, on `scale`: one output, or one for each of several classes."""

    scale: str
    outputs: tuple[Output, ...]


@dataclass(frozen=True)
class Contributions:
    """`values` [rows, features, outputs] and `base` [outputs]; one output for regression and binary.

    `names` are those of the features, `outputs` those of what is predicted: the target, the positive
    class, or each class.
    """

    values: NDArray[np.float64]
    base: NDArray[np.float64]
    matrix: Matrix
    names: list[str]
    outputs: list[str]
    scale: str

    @property
    def predicted(self) -> Floats:
        """What the model predicts on the scale of the contributions: [rows, outputs]."""
        total: Floats = self.base + self.values.sum(axis=1)
        return total

    @property
    def importance(self) -> list[Importance]:
        """Features by mean absolute contribution over rows and outputs, largest first."""
        means = np.abs(self.values).mean(axis=(0, 2))
        return [
            Importance(feature=self.names[i], value=float(means[i]))
            for i in np.argsort(-means, kind="stable")
        ]

    def for_row(self, row: int) -> Explanation:
        """One row's contributions by name, as the service and the reports show them."""
        predicted = self.base + self.values[row].sum(axis=0)
        outputs = [
            Output(
                name=name,
                base=float(self.base[output]),
                contributions=dict(zip(self.names, self.values[row, :, output].tolist(), strict=True)),
                prediction=float(predicted[output]),
            )
            for output, name in enumerate(self.outputs)
        ]
        return Explanation(scale=self.scale, outputs=tuple(outputs))

    def for_output(self, output: int) -> "shap.Explanation":
        """One output's contributions in shap's own class, for its plots."""
        import shap

        base = np.full(len(self.values), self.base[output])
        return shap.Explanation(
            self.values[:, :, output], base_values=base, data=self.matrix, feature_names=self.names
        )


def explain(fitted: FittedModel, matrix: Matrix, threads: int = 0) -> Contributions:
    """Contributions of every feature for the rows of `matrix`; the first of them only where it is slow.

    LightGBM uses as many threads; all processors if 0.
    """
    matrix = matrix[: _most_rows(fitted.model)]
    values, base = _contributions(fitted.model, matrix, threads)
    return Contributions(values, base, matrix, fitted.state.names, _outputs(fitted.problem), scale(fitted))


def input_shares(bundle: Bundle) -> dict[str, float]:
    """Each input's share of the importance; what transforms made counts for what they read, equally."""
    made_from = bundle.fitted.state.made_from
    found = dict.fromkeys(bundle.problem.inputs, 0.0)
    for item in bundle.read(EXPLANATION):
        sources = made_from.get(item["feature"], (item["feature"],))
        for source in sources:
            found[source] += item["value"] / len(sources)
    total = sum(found.values())
    return {name: value / total if total > 0 else 1 / len(found) for name, value in found.items()}


def most_explained(model: Model) -> int:
    """How many rows a service explains at once with this model."""
    return min(MAX_EXPLAINED, _most_rows(model) or MAX_EXPLAINED)


def scale(fitted: FittedModel) -> str:
    """What contributions are measured in."""
    target, kind = fitted.problem.target, fitted.model.kind
    if fitted.problem.task == "regression":
        unit = f" in {target.unit}" if target.unit else ""
        return f"log(1 + {target.name}{unit})" if target.transform else f"{target.name}{unit}"
    of = f" of '{fitted.problem.classes[1]}'" if fitted.problem.task == "binary" else ""
    return f"{'probability' if kind in PROBABILITIES else 'log-odds'}{of}"


def _outputs(problem: Problem) -> list[str]:
    if problem.task == "regression":
        return [problem.target.name]
    return list(problem.classes[1:] if problem.task == "binary" else problem.classes)


def _most_rows(model: Model) -> int | None:
    if isinstance(model, BlendModel) and model.task == "regression":
        known = [rows for member in model.members if (rows := _most_rows(member.model)) is not None]
        return min(known, default=None)
    if isinstance(model, BlendModel | NetworkModel | NeighbourNetworkModel):
        return SAMPLED_ROWS
    return FOREST_ROWS if isinstance(model, RandomForestModel) else None


def _contributions(model: Model, matrix: Matrix, threads: int) -> tuple[Floats, Floats]:
    if isinstance(model, RandomForestModel):
        return _forest(model, matrix, threads)
    if isinstance(model, TreeModel):
        return as_lightgbm.contributions(model.trees, model.read(matrix), threads)
    if isinstance(model, LinearModel):
        return _linear(model, matrix)
    if isinstance(model, NetworkModel):
        return _sampled(model.raw, matrix, model.background)
    if isinstance(model, NeighbourNetworkModel):
        return _by_answers(model, matrix)
    if isinstance(model, BlendModel):
        return _blend(model, matrix, threads)
    raise TypeError(f"No explainer for models of kind {model.kind}.")


def _forest(model: RandomForestModel, matrix: Matrix, threads: int) -> tuple[Floats, Floats]:
    values, base = as_lightgbm.contributions(model.trees, model.read(matrix), threads)
    return _by_input(values, model.state) / model.size, base / model.size


def _linear(model: LinearModel, matrix: Matrix) -> tuple[Floats, Floats]:
    """Coefficient times distance from the mean of the training rows, which the scaling has made 0.

    Exact for columns that are independent (Lundberg and Lee, NIPS 2017, corollary 1).
    """
    values = model.scaled(matrix)[:, :, None] * model.coefficients.T
    return _by_input(values, model.state), model.intercepts


def _blend(model: BlendModel, matrix: Matrix, threads: int) -> tuple[Floats, Floats]:
    """Of values, the weighted sum of what explains the members; of probabilities, by answers.

    A member's log-odds do not add up to the blend's probability.
    """
    if model.task != "regression":
        return _by_answers(model, matrix)
    parts = [(member.weight, *_contributions(member.model, matrix, threads)) for member in model.members]
    values = sum(weight * part for weight, part, _ in parts)
    return np.asarray(values), np.asarray(sum(weight * base for weight, _, base in parts))


def _by_answers(model: BlendModel | NeighbourNetworkModel, matrix: Matrix) -> tuple[Floats, Floats]:
    """Of values as models learn them, or of probabilities (of two classes, the second's)."""

    def answers(rows: Matrix) -> Floats:
        predicted = model.predict(rows)
        if model.task == "regression":
            return predicted[:, None]
        return predicted[:, 1:] if model.task == "binary" else predicted

    return _sampled(answers, matrix, model.background)


def _sampled(
    predict: Callable[[Matrix], Floats], matrix: Matrix, background: Matrix
) -> tuple[Floats, Floats]:
    """Shapley values by answers alone: [rows, features, outputs], and the mean over the background.

    From each background row the features walk over to those of the row explained one after the other,
    in a random order and in its reverse; what a feature adds is the mean of its steps. A walk's steps
    add up to its ends' difference, however few there are (Mitchell et al., "Sampling Permutations for
    Shapley Value Estimation", JMLR 23, 2022, antithetic sampling).
    """
    rng = np.random.default_rng(0)
    features = matrix.shape[1]
    turns = np.array([rng.permutation(features) for _ in background])
    turns = np.concatenate([turns, features - 1 - turns])
    starts = np.concatenate([background, background])
    steps = np.arange(features + 1)[:, None]

    def explained(row: Matrix) -> Floats:
        walks = np.where(turns[:, None] < steps, row, starts[:, None])
        answers = predict(walks.reshape(-1, features)).reshape(len(walks), features + 1, -1)
        gains = np.diff(answers, axis=1)
        mean: Floats = np.take_along_axis(gains, turns[:, :, None], axis=1).mean(axis=0)
        return mean

    return np.array([explained(row) for row in matrix]), predict(background).mean(axis=0)


def _by_input(values: Floats, state: FeatureState) -> Floats:
    """Contributions of the dense matrix' columns, summed to those of the features they were made from."""
    summed = np.zeros((len(values), len(state.names), values.shape[2]))
    for position, source in enumerate(state.dense_sources):
        summed[:, source] += values[:, position]
    return summed
