"""Small problems, one a task, with every type of column; their tables; and models fitted on them."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from millrace.bundle import FittedModel
from millrace.contract import Problem, Task, parse_problem
from millrace.features import FeatureState
from millrace.models import CandidateSettings, Model, TrainingRows, fit_model
from millrace.stacking import fit_blend

TASKS: tuple[Task, ...] = ("regression", "binary", "multiclass")
# The kinds of candidates, and what any model may be.
SINGLE = ("linear", "random_forest", "hist_boosting", "lightgbm", "network", "neighbour_network")
KINDS = (*SINGLE, "blend")
SMALL: dict[str, dict[str, Any]] = {
    "lightgbm": {"learning_rate": 0.1},
    "network": {"epochs": 15, "learning_rate": 0.02, "width": 16, "layers": 1, "bins": 8, "embedding": 4},
    "neighbour_network": {"epochs": 15, "members": 1, "neighbours": 5, "width": 16, "token": 8},
}
TREES = {"random_forest": "n_estimators", "hist_boosting": "max_iter", "lightgbm": "n_estimators"}
TARGETS: dict[Task, dict[str, Any]] = {
    "regression": {"name": "y", "type": "number"},
    "binary": {"name": "y", "type": "boolean"},
    "multiclass": {"name": "y", "type": "category", "categories": ["low", "middle", "high"]},
}
FEATURES: dict[str, dict[str, Any]] = {
    "size": {"type": "number", "unit": "m2", "range": [-100, 100], "nullable": True},
    "floor": {"type": "integer"},
    "kind": {"type": "category", "categories": ["flat", "house", "boat"], "nullable": True},
    "lift": {"type": "boolean", "nullable": True},
    "built": {"type": "datetime", "nullable": True},
    "id": {"type": "id"},
}


@dataclass(frozen=True)
class Case:
    """A problem, a silver table of it, and the matrix, target and state made from the table."""

    problem: Problem
    table: pd.DataFrame
    state: FeatureState
    rows: TrainingRows


def make_problem(task: Task = "regression", **changes: Any) -> Problem:
    """A valid problem; `changes` replace its parts."""
    parts = {
        "name": "homes",
        "title": "Homes",
        "task": task,
        "source": "homes.csv",
        "target": TARGETS[task],
        "features": FEATURES,
        "key": "id",
    }
    return parse_problem(parts | changes)


def make_table(task: Task = "regression", rows: int = 240, seed: int = 0) -> pd.DataFrame:
    """A silver table with some nulls and a target that its features explain in part."""
    rng = np.random.default_rng(seed)

    def holed(values: Any, share: float = 0.1) -> "pd.Series[Any]":
        return pd.Series(values, dtype=object).where(rng.random(rows) > share, None)

    size, kind = rng.normal(size=rows), rng.choice(["flat", "house"], rows)
    score = size + (kind == "house") + rng.normal(scale=0.3, size=rows)
    targets: dict[Task, Any] = {
        "regression": score,
        "binary": pd.array(score > 0.5, dtype="boolean"),
        "multiclass": np.select([score < 0, score < 1], ["low", "middle"], "high").astype(object),
    }
    days = pd.to_timedelta(rng.integers(0, 9000, rows), "D")
    return pd.DataFrame(
        {
            "size": holed(size).astype(float),
            "floor": rng.integers(0, 9, rows).astype(float),
            "kind": holed(kind),
            "lift": holed(rng.random(rows) > 0.5).astype("boolean"),
            "built": holed(pd.Timestamp("2000-01-01") + days).astype("datetime64[us]"),
            "id": [f"home {i}" for i in range(rows)],
            "y": targets[task],
        }
    )


@cache
def make_case(task: Task) -> Case:
    """The case of a task; made once."""
    problem, table = make_problem(task), make_table(task)
    rows = TrainingRows.of(table, problem)
    return Case(problem, table, rows.state, rows)


def settings(kind: str, size: int = 8, **changes: Any) -> CandidateSettings:
    """Settings of a small model of a kind: of `size` trees."""
    small = ({TREES[kind]: size} if kind in TREES else {}) | SMALL.get(kind, {})
    adapter: TypeAdapter[CandidateSettings] = TypeAdapter(CandidateSettings)
    return adapter.validate_python({"kind": kind, **small, **changes})


def fit(kind: str, rows: TrainingRows, size: int = 8, seed: int = 0, threads: int = 1) -> Model:
    """A small model of a kind; a blend is of a linear model, trees and a network."""
    if kind != "blend":
        return fit_model(settings(kind, size), rows, seed=seed, threads=threads)
    weights = {"trees": 0.5, "linear": 0.3, "network": 0.2}
    candidates = {"trees": settings("hist_boosting", size)} | {
        name: settings(name) for name in ("linear", "network")
    }
    return fit_blend(weights, candidates, rows, seed=seed, threads=threads)


@cache
def make_fitted(task: Task, kind: str) -> FittedModel:
    """A model of a kind fitted on a task's case; made once."""
    case = make_case(task)
    return FittedModel(case.problem, case.state, fit(kind, case.rows))
