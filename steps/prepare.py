"""From bronze to what models are fitted on: clean, split, featurize."""

from typing import Annotated

import pandas as pd
from zenml import step

from millrace import cleaning, splitting
from millrace.cleaning import RowCounts
from millrace.contract import Problem
from millrace.features import FeatureState
from millrace.models import TrainingRows
from millrace.quality import GOLD_TARGET
from millrace.splitting import SplitRecord
from steps.materializers import ShownTableMaterializer, TableMaterializer


@step(output_materializers={"silver": TableMaterializer, "quarantine": ShownTableMaterializer})
def clean(
    bronze: pd.DataFrame, problem: Problem, bad_rows_limit: float
) -> tuple[
    Annotated[pd.DataFrame, "silver"],
    Annotated[pd.DataFrame, "quarantine"],
    Annotated[RowCounts, "row_counts"],
]:
    """Keep the rows that fulfil the contract; the others go to quarantine with their reasons."""
    cleaned = cleaning.clean(bronze, problem, bad_rows_limit)
    return cleaned.silver, cleaned.quarantine, cleaned.counts


@step(output_materializers={"training_rows": TableMaterializer, "holdout_rows": TableMaterializer})
def split(
    silver: pd.DataFrame, problem: Problem, recent: pd.DataFrame | None = None
) -> tuple[
    Annotated[pd.DataFrame, "training_rows"],
    Annotated[pd.DataFrame, "holdout_rows"],
    Annotated[SplitRecord, "split"],
]:
    """Hold rows out by the contract's rule; of these, only the recent ones, if some are."""
    # Named one by one: ZenML reads from the return statement whether a tuple is one output or several.
    training_rows, holdout_rows, record = splitting.split(silver, problem)
    if recent is not None:
        holdout_rows, record = splitting.only_recent(holdout_rows, record, recent, problem)
    return training_rows, holdout_rows, record


@step(output_materializers={"gold": TableMaterializer})
def featurize(
    training_rows: pd.DataFrame, problem: Problem
) -> tuple[Annotated[pd.DataFrame, "gold"], Annotated[FeatureState, "features"]]:
    """Fit the features on training rows and encode these: one column a feature, and the target."""
    rows = TrainingRows.of(training_rows, problem)
    gold = pd.DataFrame(rows.matrix, columns=rows.state.names).assign(**{GOLD_TARGET: rows.target})
    return gold, rows.state
