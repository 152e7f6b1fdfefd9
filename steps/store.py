"""A source that is too long for memory: its rows on disk, and some of them as tables."""

import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from zenml import log_metadata, step

from millrace import large
from millrace.batch.job import Progress
from millrace.contract import Problem
from millrace.engine import EngineChoice
from millrace.features import FeatureState, encode_target
from millrace.large import Account, Bins, StoredRows
from millrace.large.engines import check
from millrace.quality import GOLD_TARGET
from millrace.settings import TrainingSettings
from millrace.sources import Source
from millrace.sources.streams import find_parts
from millrace.splitting import SplitRecord
from steps.ingest import read_secret
from steps.materializers import (
    ShownTableMaterializer,
    StoredRowsMaterializer,
    TableMaterializer,
)
from steps.score import Lines
from steps.scratch import scratch


# Never cached: only reading tells whether the source has changed.
@step(
    enable_cache=False,
    output_materializers={
        "bronze": TableMaterializer,
        "quarantine": ShownTableMaterializer,
        "training_rows": TableMaterializer,
        "holdout_rows": TableMaterializer,
        "rows": StoredRowsMaterializer,
    },
)
def store(
    problem: Problem, source: Source, cache: str, settings: TrainingSettings, engine: EngineChoice
) -> tuple[
    Annotated[pd.DataFrame, "bronze"],
    Annotated[pd.DataFrame, "quarantine"],
    Annotated[pd.DataFrame, "training_rows"],
    Annotated[pd.DataFrame, "holdout_rows"],
    Annotated[SplitRecord, "split"],
    Annotated[StoredRows, "rows"],
    Annotated[Account, "account"],
]:
    """Check, clean, split and encode all rows, some at a time; the tables are drawn from them."""
    check(engine)
    parts = find_parts(source, Path(cache), problem.columns, read_secret=read_secret)
    lines = Lines("store")
    folder = Path(tempfile.mkdtemp(dir=scratch()))
    try:
        stored = large.store(
            parts,
            problem,
            folder,
            settings.bad_rows_limit,
            draw=settings.large.draw,
            report=lambda rows, share: lines(Progress(rows, share)),
        )
        # So that they are kept with the rows.
        Bins.of(stored.training)
    except BaseException:
        # As large as the table, and this process may have more to do.
        shutil.rmtree(folder)
        raise
    account = stored.account(engine.name)
    metadata: dict[str, Any] = {
        "origin": source.origin,
        "files": len(parts),
        "rows_read": account.rows.read,
        "digest_of_all_rows": account.digest,
    }
    log_metadata(metadata, artifact_name="bronze", infer_artifact=True)
    drawn = stored.drawn
    return (
        drawn.bronze,
        drawn.quarantine,
        drawn.training,
        drawn.holdout,
        stored.split,
        stored.training,
        account,
    )


@step(output_materializers={"gold": TableMaterializer})
def featurize_drawn(
    rows: StoredRows, training_rows: pd.DataFrame, problem: Problem
) -> tuple[Annotated[pd.DataFrame, "gold"], Annotated[FeatureState, "features"]]:
    """The drawn training rows with the features that the stored ones are binned with."""
    state = Bins.of(rows).state
    gold = pd.DataFrame(state.transform(training_rows), columns=state.names)
    return gold.assign(**{GOLD_TARGET: encode_target(training_rows[problem.target.name], problem)}), state
