"""A weighted mean of other models, each stored in a folder of its own.

Values are averaged on the scale that models learn, probabilities as they are.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from millrace.contract import Task
from millrace.features import FeatureState
from millrace.models import background
from millrace.models.base import Model
from millrace.transforms import Matrix

# Of the kind, and of the candidate that training makes of the others.
NAME = "blend"
MEMBERS, ABOUT = "members", "model.json"


@dataclass(frozen=True)
class Member:
    """A model by the name of its candidate, and its share of the answer."""

    name: str
    weight: float
    model: Model


class BlendModel:
    """Members in the order of their names, so that a sum is the same bits also after loading."""

    kind = NAME

    def __init__(self, members: Sequence[Member], task: Task, kept: Matrix) -> None:
        self.members = sorted(members, key=lambda member: member.name)
        self.task = task
        self.background = kept

    def predict(self, matrix: Matrix) -> NDArray[np.float64]:
        weights = np.array([member.weight for member in self.members])
        return mix(weights, np.stack([member.model.predict(matrix) for member in self.members]))

    def save(self, folder: Path) -> None:
        for member in self.members:
            own = folder / MEMBERS / member.name
            own.mkdir(parents=True)
            about = {"kind": member.model.kind, "weight": member.weight}
            (own / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
            member.model.save(own)
        background.save(self.background, folder)

    @classmethod
    def load(cls, folder: Path, task: Task, state: FeatureState) -> "BlendModel":
        # The list of models names this one, too.
        from millrace.models import load_model

        members = []
        for own in (folder / MEMBERS).iterdir():
            about = json.loads((own / ABOUT).read_bytes())
            members.append(Member(own.name, about["weight"], load_model(about["kind"], own, task, state)))
        return cls(members, task, background.load(folder))


def mix(weights: NDArray[np.float64], predicted: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weighted mean of what members [members, rows, ...] predict."""
    return np.asarray(np.tensordot(weights, predicted, axes=1), dtype=np.float64)
