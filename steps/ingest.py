"""The source to a typed table."""

from pathlib import Path
from typing import Annotated

import pandas as pd
from zenml import log_metadata, step

from millrace.casting import cast
from millrace.contract import Problem
from millrace.sources import read
from steps.materializers import TableMaterializer


# Never cached: only reading tells whether the source has changed. The steps after it are cached by
# what was read.
@step(enable_cache=False, output_materializers=TableMaterializer)
def ingest(problem: Problem, source: str, cache: str) -> Annotated[pd.DataFrame, "bronze"]:
    """Read the source and give it the contract's columns and types."""
    raw = read(source, Path(cache))
    bronze = cast(raw.rows, problem, raw.origin)
    ignored = [name for name in raw.rows.schema.names if name not in problem.columns]
    metadata = {"origin": raw.origin, "rows_read": len(bronze), "ignored_columns": ignored}
    log_metadata(metadata, artifact_name="bronze", infer_artifact=True)
    return bronze
