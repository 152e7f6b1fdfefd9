"""A raw table to a draft of its contract, the checks that follow from it, and a page."""

import hashlib
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pyarrow as pa
from zenml import step
from zenml.enums import ArtifactType
from zenml.types import HTMLString

from millrace.profiling.drafting import Draft, make_draft
from millrace.profiling.expectations import column_suites
from millrace.profiling.page import profile_page
from millrace.profiling.settings import ProfilingSettings
from millrace.profiling.yaml_text import to_yaml
from millrace.sources import Source, read
from steps.ingest import read_secret
from steps.materializers import FilesMaterializer

Suites = dict[str, dict[str, Any]]
RAW = "raw.arrow"


class RawMaterializer(FilesMaterializer):
    """Arrow tables as they were read, with headers that name a column twice, in Arrow's file format."""

    ASSOCIATED_TYPES: ClassVar[tuple[type, ...]] = (pa.Table,)
    ASSOCIATED_ARTIFACT_TYPE: ClassVar[ArtifactType] = ArtifactType.DATA

    def write(self, data: pa.Table, folder: Path) -> None:
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_file(folder / RAW, data.schema, options=options) as writer:
            writer.write_table(data)

    def read(self, folder: Path) -> pa.Table:
        return pa.ipc.open_file((folder / RAW).read_bytes()).read_all()

    def compute_content_hash(self, data: pa.Table) -> str:
        buffer = pa.BufferOutputStream()
        with pa.ipc.new_stream(buffer, data.schema) as writer:
            writer.write_table(data)
        return hashlib.sha256(buffer.getvalue()).hexdigest()

    def extract_metadata(self, data: pa.Table) -> dict[str, Any]:
        return {"rows": data.num_rows, "columns": data.num_columns}


# Never cached: only reading tells whether the source has changed.
@step(enable_cache=False, output_materializers={"raw": RawMaterializer})
def ingest_raw(source: Source, cache: str) -> tuple[Annotated[pa.Table, "raw"], Annotated[str, "origin"]]:
    """Read the source as it is."""
    raw = read(source, Path(cache), read_secret=read_secret)
    return raw.table, raw.origin


@step
def draft(
    raw: pa.Table, origin: str, name: str, source: Source, target: str, settings: ProfilingSettings
) -> tuple[Annotated[Draft, "draft"], Annotated[str, "problem_file"], Annotated[Suites, "expectations"]]:
    """Infer the contract, rehearse it, and write down what it says and checks."""
    made = make_draft(raw, origin, name=name, source=source.origin, target=target, settings=settings)
    return made, to_yaml(made), column_suites(made.problem, settings)


@step
def profile(raw: pa.Table, made: Draft, settings: ProfilingSettings) -> Annotated[HTMLString, "profile_page"]:
    """Show the table: distributions, empty cells, correlations, the target's relations."""
    return HTMLString(profile_page(raw, made, settings))
