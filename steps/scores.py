"""Holdout scores as a table artifact, and back."""

import pandas as pd

from millrace.contract import Problem
from millrace.metrics import Floats
from millrace.promotion import Scores

TARGET = "target"


def to_table(scores: Scores) -> pd.DataFrame:
    """One row a holdout row: target, then the predictions of challenger and baseline, by output."""
    columns = {TARGET: scores.target}
    for name, values in (("challenger", scores.challenger), ("baseline", scores.baseline)):
        for output, column in enumerate(values.reshape(len(values), -1).T):
            columns[f"{name}_{output}"] = column
    return pd.DataFrame(columns)


def from_table(table: pd.DataFrame, problem: Problem) -> Scores:
    """Read the arrays back in the shapes they had."""

    def predictions(name: str) -> Floats:
        values = table[[column for column in table if column.startswith(f"{name}_")]].to_numpy()
        return values if problem.classes else values[:, 0]

    return Scores(table[TARGET].to_numpy(), predictions("challenger"), predictions("baseline"))
