"""The scale on which a model learns the target, and the way back to the target's unit."""

import numpy as np

from millrace.contract import LARGEST, Target
from millrace.transforms import Matrix


def to_model(values: Matrix, target: Target) -> Matrix:
    """Encoded target values [rows] as a model learns them: log(1 + value) where the contract says so."""
    return np.log1p(values) if target.transform == "log" else values


def to_unit(predicted: Matrix, target: Target) -> Matrix:
    """What a model says, back in the target's unit.

    Of a logarithm only what lies in the target's range: past it, a small step is a large error and a
    large one is infinite.
    """
    if target.transform != "log":
        return predicted
    low, high = target.range or (0.0, None)
    low, high = low or 0.0, LARGEST[target.type] if high is None else high
    return np.clip(np.expm1(np.clip(predicted, np.log1p(low), np.log1p(high))), low, high)
