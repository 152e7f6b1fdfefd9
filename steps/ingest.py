"""The source to a typed table."""

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
from zenml import log_metadata, step
from zenml.client import Client

from millrace.casting import cast
from millrace.contract import Problem
from millrace.errors import UserError, unknown
from millrace.sources import Source, read
from steps.materializers import TableMaterializer


# Never cached: only reading tells whether the source has changed. The steps after it are cached by
# what was read.
@step(enable_cache=False, output_materializers=TableMaterializer)
def ingest(problem: Problem, source: Source, cache: str) -> Annotated[pd.DataFrame, "bronze"]:
    """Read the source and give it the contract's columns and types."""
    raw = read(source, Path(cache), problem.columns, read_secret)
    bronze = cast(raw.table, problem, raw.origin)
    # The digest of the rows is logged with the artifact, by its materializer.
    metadata: dict[str, Any] = {
        "origin": raw.origin,
        "format": raw.format,
        "rows_read": len(bronze),
        "ignored_columns": [name for name in raw.names if name not in problem.columns],
    }
    if raw.revision:
        metadata["dvc"] = raw.revision
    log_metadata(metadata, artifact_name="bronze", infer_artifact=True)
    return bronze


def read_secret(name: str, key: str) -> str:
    """The value of one key of a ZenML secret.

    Raises:
        UserError: there is no such secret or key.
    """
    try:
        values = Client().get_secret(name, allow_partial_name_match=False).secret_values
    except KeyError:
        names = [secret.name for secret in Client().list_secrets(size=1000).items]
        raise unknown("ZenML secret", name, names) from None
    except NotImplementedError:
        raise UserError(f"The secret '{name}' cannot be read: this ZenML stores no secrets.") from None
    if key not in values:
        raise unknown(f"key of the ZenML secret '{name}':", key, values)
    return values[key]
