"""Whether two ways to a model's answers are one: made-up rows, and how alike answers to them must be."""

import numpy as np

from millrace.features import FeatureState
from millrace.metrics import Floats
from millrace.transforms import Matrix

PROBES, SHARE_MISSING = 64, 0.1
# How far apart two ways to the same sum may round, as a share of it.
TOLERANCE = 1e-12


def same(found: Floats, expected: Floats) -> bool:
    """Whether answers differ by their rounding alone."""
    atol = TOLERANCE * float(np.abs(expected).max())
    return bool(np.allclose(found, expected, rtol=TOLERANCE, atol=atol))


def probes(state: FeatureState) -> Matrix:
    """Made-up rows of the matrix, about the middle of the training rows, with gaps: [rows, columns]."""
    rng = np.random.default_rng(0)
    inputs = np.empty((PROBES, len(state.inputs)))
    for position, column in enumerate(state.inputs):
        if column.fill is None:
            inputs[:, position] = rng.integers(0, len(column.categories), PROBES)
        elif column.kind == "boolean":
            inputs[:, position] = rng.integers(0, 2, PROBES)
        else:
            inputs[:, position] = column.fill + (abs(column.fill) or 1.0) * rng.normal(size=PROBES)
    inputs[rng.random(inputs.shape) < SHARE_MISSING] = np.nan
    return state.expand(inputs)
