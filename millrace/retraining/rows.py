"""The rows that a retraining learns from, and which of them are recent."""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa

from millrace.casting import UNREADABLE
from millrace.cleaning import clean
from millrace.contract import Problem
from millrace.errors import UserError
from millrace.moments import begin
from millrace.prediction_log import read_labelled
from millrace.retraining.admission import OF_THE_WINDOW, Trigger
from millrace.retraining.settings import RetrainingSettings
from millrace.service_metrics import SHADOW
from millrace.splitting import moments


@dataclass(frozen=True)
class Labelled:
    """Rows of a log whose outcome is known, as the contract has them: the last of each key.

    `unfit` are those that break the contract of today.
    """

    table: pd.DataFrame
    unfit: int


@dataclass(frozen=True)
class Fresh:
    """A bronze table to train on, and those of its rows that a model is to be judged on, none for all alike.

    `told` says where they are from.
    """

    bronze: pd.DataFrame
    recent: pd.DataFrame
    told: str


def labelled_rows(uri: str, problem: Problem, since: datetime, until: datetime) -> Labelled:
    """The rows of `since` <= time < `until` whose outcome is known.

    Raises:
        UserError: there is no log, it cannot be read, or it has not all that a model learns from.
    """
    hidden = [name for name, column in problem.inputs.items() if column.private]
    if hidden:
        raise UserError(
            f"The prediction log of '{problem.name}' cannot be learnt from: its column '{hidden[0]}' is "
            "private, so it is not logged. Train on the source alone: --set rows=all."
        )
    # In the shadow, rows are predicted that another model has answered.
    parts = [part[part["_variant"] != SHADOW] for part in read_labelled(uri, problem, since, until)]
    if not parts:
        return Labelled(_none(problem), 0)
    found = pd.concat(parts, ignore_index=True).sort_values("_time", kind="stable")
    if problem.key is not None:
        found = found.drop_duplicates(problem.key, keep="last")
    bronze = _bronze(found[list(problem.columns)])
    cleaned = clean(bronze, problem, bad_rows_limit=1)
    return Labelled(cleaned.silver, cleaned.counts.quarantined)


def fresh_rows(
    source: pd.DataFrame,
    labelled: Labelled | None,
    problem: Problem,
    trigger: Trigger,
    settings: RetrainingSettings,
) -> Fresh:
    """The bronze table of a policy: `all` of the source, what is recent of it and of the log, or both whole.

    `labelled` is None where there is no log, or it does not matter.

    Raises:
        UserError: too few rows are recent, where only such can help.
    """
    if settings.rows == "all":
        return Fresh(source, _none(problem), f"{len(source):,} rows of the source")
    since = begin(settings.window, trigger.asked)
    log = labelled.table if labelled else _none(problem)
    of_source = _since(source, problem, since) if settings.rows == "window" else source
    needed = settings.rows == "window" or trigger.kind in OF_THE_WINDOW
    recent = len(log) + (len(of_source) if settings.rows == "window" else 0)
    if recent < settings.min_rows:
        if needed:
            unfit = f" ({labelled.unfit:,} more break the contract)" if labelled and labelled.unfit else ""
            raise UserError(
                f"Only {recent:,} rows since {since:%Y-%m-%d %H:%M} UTC have an outcome{unfit}, "
                f"{settings.min_rows:,} are needed (min_rows): wait for outcomes, or take a longer window: "
                "--set window=180d."
            )
        told = f"{len(source):,} rows of the source; {len(log):,} of the log are too few to add"
        return Fresh(source, _none(problem), told)
    if problem.key is not None:
        # What the log knows of a key is newer.
        of_source = of_source[~of_source[problem.key].isin(log[problem.key])]
    table = pd.concat([of_source, _bronze(log)], ignore_index=True)
    told = f"{len(of_source):,} rows of the source, {len(log):,} of the log since {since:%Y-%m-%d %H:%M} UTC"
    # Of a window all rows are recent, so that no choice is to be made.
    return Fresh(table, log if settings.rows == "labelled" else _none(problem), told)


def enough_of_the_source(rows: int, before: int, settings: RetrainingSettings) -> None:
    """See that a source has not lost rows since the champion learnt from it.

    Raises:
        UserError: it has.
    """
    if rows < settings.min_share * before:
        raise UserError(
            f"The source has {rows:,} rows, and had {before:,} when the champion was trained: less than the "
            f"share of {settings.min_share:g} (min_share). Is it whole? If so, train anew: "
            "--pipeline training, or --set min_share=SHARE."
        )


def _since(source: pd.DataFrame, problem: Problem, since: datetime) -> pd.DataFrame:
    """The rows of a source that are not older; none where no column tells."""
    column = problem.split.column
    if problem.split.by != "time" or problem.features[str(column)].type != "datetime":
        return source.iloc[:0]
    return source[moments(source, str(column), problem) >= since.astimezone(UTC).timestamp()]


def _bronze(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose cells could all be read."""
    nothing = pd.Series([None] * len(table), dtype=pd.ArrowDtype(pa.large_string()))
    return table.reset_index(drop=True).assign(**{UNREADABLE: nothing})


def _none(problem: Problem) -> pd.DataFrame:
    return pd.DataFrame({name: np.empty(0) for name in problem.columns})
