"""The holdout: chosen by a rule that proves from a row alone on which side it is.

By rows: a seeded hash of the row. The same row under the same seed lands on the same side in every
run, also when the table has grown. By group: a seeded hash of the group's name, so that a group is
never on both sides. By time: the latest rows. Under each rule a challenger can be judged on rows that
neither it nor the champion was trained on.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from millrace.contract import NUMERIC, Problem, SplitRule
from millrace.digests import mix, row_digests
from millrace.errors import UserError
from millrace.features import encode
from millrace.strict import Strict

ALL = ""
# In how many parts training rows are put, of which each is given what the others teach.
PARTS = 10
PARTS_SEED = 1
FEWEST_RECENT = 30
THINGS: dict[SplitRule, str] = {"rows": "row", "group": "group", "time": "moment"}


class SplitRecord(Strict):
    """The rule that was applied.

    A row is held out if its hash is below its class' threshold (by rows), if its group's hash is below
    the one threshold (by group), or if it is later than `trained_until` (by time; a number, or seconds
    since 1970 of a datetime). `recent`: of the rows held out only those that were recent were used to
    judge by; the others were used for nothing.
    """

    by: SplitRule = "rows"
    column: str | None = None
    seed: int
    holdout: float
    thresholds: dict[str, int]
    trained_until: float | None = None
    training_rows: int
    holdout_rows: int
    recent: bool = False

    def held_out(self, table: pd.DataFrame, problem: Problem) -> NDArray[np.bool_]:
        """Which rows of a typed table this rule holds out: [rows]."""
        if self.trained_until is not None:
            assert self.column is not None
            return moments(table, self.column, problem) > self.trained_until
        # Not Series.map: beside a class without a threshold it would round the others to floats.
        limits = [self.thresholds.get(name, 0) for name in _strata(table, problem, self.by)]
        hashes = mix(_digests(table, problem, self.column), self.seed)
        return np.asarray(hashes < np.array(limits, dtype=np.uint64))

    def sentence(self, problem: Problem) -> str:
        """The rule in words."""
        return f"{'what is recent of ' if self.recent else ''}{self._rule(problem)}"

    def _rule(self, problem: Problem) -> str:
        if self.trained_until is not None:
            assert self.column is not None
            dated = problem.features[self.column].type == "datetime"
            moment = pd.Timestamp(self.trained_until, unit="s") if dated else f"{self.trained_until:g}"
            return f"the rows whose '{self.column}' is after {moment}"
        return f"{self.holdout:.0%} of the {'rows' if self.by == 'rows' else 'groups'}, by the hash of " + (
            "each" if self.column is None else f"'{self.column}'"
        )


def split(silver: pd.DataFrame, problem: Problem) -> tuple[pd.DataFrame, pd.DataFrame, SplitRecord]:
    """Part a silver table into training and holdout rows; a split by rows does so class by class.

    Raises:
        UserError: a side would be empty, or a class has a single row.
    """
    rule = problem.split
    thresholds, until = {}, None
    if rule.by == "time":
        assert rule.column is not None
        # The latest are held out, the order of the others is by value: so the negative.
        until = -float(_threshold(-moments(silver, rule.column, problem), problem, ALL))
    else:
        hashes = mix(_digests(silver, problem, rule.column), rule.seed)
        strata = _strata(silver, problem, rule.by)
        for name, members in strata.groupby(strata, observed=True).indices.items():
            thresholds[str(name)] = int(_threshold(hashes[members], problem, str(name)))
    record = SplitRecord(
        by=rule.by,
        column=rule.column,
        seed=rule.seed,
        holdout=rule.holdout,
        thresholds=thresholds,
        trained_until=until,
        training_rows=0,
        holdout_rows=0,
    )
    held = record.held_out(silver, problem)
    training, holdout = silver[~held].reset_index(drop=True), silver[held].reset_index(drop=True)
    record = record.model_copy(update={"training_rows": len(training), "holdout_rows": len(holdout)})
    return training, holdout, record


def only_recent(
    holdout: pd.DataFrame, record: SplitRecord, recent: pd.DataFrame, problem: Problem
) -> tuple[pd.DataFrame, SplitRecord]:
    """Of the rows that are held out, those that are among the recent ones; where none are recent, all.

    What is left out stays unknown to the model, so that its record is true of all rows.

    Raises:
        UserError: fewer than 30 are left, too few to judge by.
    """
    if recent.empty:
        return holdout, record
    names = list(problem.columns)
    kept = holdout[np.isin(row_digests(holdout[names]), row_digests(recent[names]))].reset_index(drop=True)
    if len(kept) < FEWEST_RECENT:
        raise UserError(
            f"Only {len(kept)} of {len(recent):,} recent rows are held out, {FEWEST_RECENT} are needed to "
            "judge a model by: wait for more outcomes, or hold out more (split.holdout in the problem's "
            "file)."
        )
    return kept, record.model_copy(update={"holdout_rows": len(kept), "recent": True})


def check_by_rows(problem: Problem) -> None:
    """See that each row, or its group, tells alone on which side it is.

    Raises:
        UserError: the contract splits by time, which takes all moments at once.
    """
    if problem.split.by == "time":
        raise UserError(
            "A table is split by time in memory alone; split it by rows or by group, or raise the size from "
            "which on rows stay on disk: --set large.mib=MIB."
        )


def parts(training: pd.DataFrame, problem: Problem) -> NDArray[np.int64]:
    """Which of ten parts each training row is in, by the split's own rule: [rows].

    By rows and by group: by a hash, so that equal rows and the rows of a group are together. By time:
    in order, rows of one moment together.
    """
    column = problem.split.column
    if problem.split.by == "time":
        assert column is not None
        times = moments(training, column, problem)
        rank = np.searchsorted(np.sort(times), times)
        return np.asarray(rank * PARTS // len(times), dtype=np.int64)
    hashes = mix(_digests(training, problem, column), PARTS_SEED + problem.split.seed)
    return np.asarray(hashes % PARTS, dtype=np.int64)


def moments(table: pd.DataFrame, column: str, problem: Problem) -> NDArray[np.float64]:
    """A time column as numbers: its values, or seconds since 1970 [rows]."""
    return encode(table[column], "numeric" if problem.features[column].type in NUMERIC else "datetime")


def group_hashes(table: pd.DataFrame, column: str) -> NDArray[np.uint64]:
    """A hash a row of its group's name alone [rows]."""
    return row_digests(table[[column]])


def _threshold(keys: NDArray[Any], problem: Problem, stratum: str) -> Any:
    """The key below which the holdout's share of the keys lies, as nearly as equal keys stay together."""
    values, counts = np.unique(keys, return_counts=True)
    if len(values) < 2:
        whole = f"the class '{stratum}'" if stratum != ALL else "the table"
        where = "" if problem.split.column is None else f" in '{problem.split.column}'"
        raise UserError(
            f"{whole} has a single usable {THINGS[problem.split.by]}{where}; "
            "a holdout and a training side need one each."
        )
    below = np.cumsum(counts)[:-1]
    return values[1:][np.abs(below - round(problem.split.holdout * len(keys))).argmin()]


def _digests(table: pd.DataFrame, problem: Problem, column: str | None) -> NDArray[np.uint64]:
    return row_digests(table[list(problem.columns)]) if column is None else group_hashes(table, column)


def _strata(table: pd.DataFrame, problem: Problem, by: SplitRule) -> "pd.Series[str]":
    if problem.classes and by == "rows":
        return table[problem.target.name].astype(str)
    return pd.Series(ALL, index=table.index)
