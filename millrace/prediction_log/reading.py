"""Reads a log for those who watch a model: typed, in bounded memory, with what turned out to be true."""

from collections.abc import Iterator
from datetime import UTC, datetime
from math import inf
from typing import NamedTuple

import pandas as pd
import pyarrow as pa

from millrace.casting import cast_column
from millrace.contract import Problem
from millrace.prediction_log.frames import array, frame
from millrace.prediction_log.outcome_index import OutcomeIndex
from millrace.prediction_log.stores import open_log

# How many rows are in memory at once.
SIZE = 20_000


class OutcomeCounts(NamedTuple):
    """How many outcomes came; how many a later one replaced; how many of the others have a prediction."""

    received: int
    replaced: int
    matched: int
    unmatched: int


def read_log(
    uri: str,
    problem: Problem,
    since: datetime | None = None,
    until: datetime | None = None,
    size: int = SIZE,
) -> Iterator[pd.DataFrame]:
    """The logged rows of `since` <= time < `until`, at most `size` at once; moments without a zone are UTC.

    Each frame has the contract's features, in the contract's types, and `_time`, `_request`, `_row` (in
    its request, from 0), `_key`, `_variant`, `_model`, `_version`, `_digest`, `_seconds`, `_prediction`; of
    classes also `_probability_<class>`, of numbers `_low` and `_high`. Private columns, and those that were
    not in the contract of their time, are missing values. A SQLite log is in the order of time, without the
    requests that are not whole; Parquet files are read one by one.

    Raises:
        UserError: there is no log, or it cannot be read.
    """
    for table in open_log(uri, problem).rows(_seconds(since, -inf), _seconds(until, inf), size, True):
        yield frame(table, problem)


def read_labelled(
    uri: str,
    problem: Problem,
    since: datetime | None = None,
    until: datetime | None = None,
    size: int = SIZE,
) -> Iterator[pd.DataFrame]:
    """Those rows of `read_log` whose outcome is known, with it in the target's column.

    The last outcome that came counts; one of a request's row before one of its key.
    """
    stored = open_log(uri, problem)
    with OutcomeIndex() as index:
        for outcomes in stored.outcomes(size):
            index.add(outcomes)
        for table in stored.rows(_seconds(since, -inf), _seconds(until, inf), size, True):
            actual = array(index.match(table))
            rows = frame(table, problem)
            rows[problem.target.name] = cast_column(pa.chunked_array([actual]), problem.target)
            labelled = rows[rows[problem.target.name].notna()].reset_index(drop=True)
            if len(labelled):
                yield labelled


def count_outcomes(uri: str, problem: Problem, size: int = SIZE) -> OutcomeCounts:
    """Count the outcomes of a whole log."""
    stored = open_log(uri, problem)
    with OutcomeIndex() as index:
        for outcomes in stored.outcomes(size):
            index.add(outcomes)
        for table in stored.rows(-inf, inf, size, False):
            index.match(table, mark=True)
        return OutcomeCounts(*index.counts())


def forget(uri: str, problem: Problem, key: str) -> int:
    """Delete all rows of a key, with their outcomes; return how many rows it had.

    Rows that wait in a service's memory, or are not in a Parquet file yet, come later: forget once more when
    the settings' `flush_seconds`, or `rotate_seconds`, have passed.
    """
    return open_log(uri, problem).forget(key)


def _seconds(moment: datetime | None, otherwise: float) -> float:
    if moment is None:
        return otherwise
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
