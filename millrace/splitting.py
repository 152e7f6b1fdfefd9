"""The holdout: chosen by a seeded hash of each row, so membership can be proved from the row alone.

The same row under the same seed lands on the same side in every run, also when the table has grown:
a challenger is judged on rows that neither it nor the champion was trained on.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from millrace.contract import Problem, Strict
from millrace.digests import mix, row_digests
from millrace.errors import UserError

ALL = ""


class SplitRecord(Strict):
    """The rule that was applied: a row is held out if its hash is below its class' threshold."""

    seed: int
    holdout: float
    thresholds: dict[str, int]
    training_rows: int
    holdout_rows: int

    def held_out(self, table: pd.DataFrame, problem: Problem) -> NDArray[np.bool_]:
        """Which rows of a typed table this rule holds out: [rows]."""
        # Not Series.map: beside a class without a threshold it would round the others to floats.
        limits = [self.thresholds.get(name, 0) for name in _strata(table, problem)]
        return np.asarray(_hashes(table, problem, self.seed) < np.array(limits, dtype=np.uint64))


def split(silver: pd.DataFrame, problem: Problem) -> tuple[pd.DataFrame, pd.DataFrame, SplitRecord]:
    """Part a silver table into training and holdout rows, by class for classification.

    Raises:
        UserError: a side would be empty, or a class has a single row.
    """
    hashes = _hashes(silver, problem, problem.split.seed)
    strata = _strata(silver, problem)
    thresholds = {}
    for name, members in strata.groupby(strata, observed=True).indices.items():
        if len(members) < 2:
            whole = f"the class '{name}' has" if name != ALL else "the table has"
            raise UserError(f"{whole} a single usable row; a holdout and a training side need one each.")
        share = round(problem.split.holdout * len(members))
        count = min(max(share, 1), len(members) - 1)
        thresholds[str(name)] = int(np.sort(hashes[members])[count])
    record = SplitRecord(
        seed=problem.split.seed,
        holdout=problem.split.holdout,
        thresholds=thresholds,
        training_rows=0,
        holdout_rows=0,
    )
    held = record.held_out(silver, problem)
    training, holdout = silver[~held].reset_index(drop=True), silver[held].reset_index(drop=True)
    record = record.model_copy(update={"training_rows": len(training), "holdout_rows": len(holdout)})
    return training, holdout, record


def _hashes(table: pd.DataFrame, problem: Problem, seed: int) -> NDArray[np.uint64]:
    return mix(row_digests(table[list(problem.columns)]), seed)


def _strata(table: pd.DataFrame, problem: Problem) -> "pd.Series[str]":
    if problem.classes:
        return table[problem.target.name].astype(str)
    return pd.Series(ALL, index=table.index)
