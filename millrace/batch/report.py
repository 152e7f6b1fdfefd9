"""What the dashboard shows of a finished job: some rows of it, and a page."""

import io
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from millrace.batch.output import Output
from millrace.batch.records import Manifest
from millrace.contract import Problem
from millrace.pages import render

# On the page: rows of the sample, and its columns.
ROWS, COLUMNS = 20, 12


def sample(manifest: Manifest, output: Output, rows: int) -> pd.DataFrame:
    """The first rows that were scored, as the output has them."""
    return _head(output, [partition.path for partition in manifest.partitions], rows)


def quarantine(manifest: Manifest, output: Output, rows: int) -> pd.DataFrame:
    """The first rows that were not, with their reasons; a table without columns if all were."""
    return _head(output, [partition.quarantine for partition in manifest.partitions], rows)


def page(manifest: Manifest, problem: Problem, where: str, shown: pd.DataFrame) -> str:
    """A self-contained page about a job whose output is at `where`."""
    head = shown.iloc[:ROWS, :COLUMNS]
    cells = [[_cell(value) for value in row] for row in head.itertuples(index=False)]
    summary = {
        name: f"{value:,.6g}" if not problem.classes else f"{value:,.0f} rows"
        for name, value in manifest.summary.items()
    }
    return render(
        "inference",
        title="Predictions",
        problem=problem,
        manifest=manifest,
        where=where,
        header=list(head.columns),
        cells=cells,
        summary=summary,
    )


def _head(output: Output, names: list[str | None], rows: int) -> pd.DataFrame:
    first = next((name for name in names if name), None)
    if first is None:
        return pd.DataFrame()
    content = io.BytesIO(output.published(first))
    if first.endswith(".csv"):
        table = pa_csv.read_csv(content).slice(0, rows)
    else:
        with pq.ParquetFile(content) as file:
            table = pa.Table.from_batches([next(file.iter_batches(rows))])
    return pd.DataFrame({name: _plain(table.column(name)) for name in table.column_names})


def _plain(column: pa.ChunkedArray) -> "pd.Series[Any]":
    """A column as the artifact store takes it: of numbers, or of text."""
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return pd.Series(column.cast(pa.float64(), safe=False).to_numpy())
    return pd.Series([None if value is None else str(value) for value in column.to_pylist()], dtype=object)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.6g}"
    return "" if value is None or value is pd.NA else str(value)
