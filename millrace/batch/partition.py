"""A partition being written: rows of several batches become one file, in memory until it is whole."""

import hashlib
import io
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from millrace.batch.records import Partition, Rows
from millrace.batch.rows import Scored
from millrace.request_tables import flat

# Bytes up to which a column's different values are listed: longer lists take time, and save no bytes.
DICTIONARY = 2**16
QUOTING = pa_csv.WriteOptions(quoting_style="needed")


class PartitionWriter:
    """Collects scored batches as the bytes of a Parquet or CSV file, and rows in quarantine as Parquet."""

    def __init__(self, csv: bool) -> None:
        self._csv = csv
        self._scored, self._quarantine = io.BytesIO(), io.BytesIO()
        self._writers: dict[str, Any] = {}
        self._counts = {"scored": 0, "quarantined": 0}
        self._reasons: Counter[str] = Counter()
        self._summaries: list[dict[str, float]] = []
        self.requests: list[bytes] = []

    @property
    def rows(self) -> Rows:
        """Where the rows so far went."""
        scored, quarantined = self._counts["scored"], self._counts["quarantined"]
        return Rows(read=scored + quarantined, scored=scored, quarantined=quarantined)

    def add(self, scored: Scored) -> None:
        """Add a batch."""
        if scored.table.num_rows:
            self._write("scored", self._scored, scored.table, self._csv)
            self._summaries.append(scored.summary)
        if scored.quarantine.num_rows:
            self._write("quarantined", self._quarantine, scored.quarantine, csv=False)
        self._reasons.update(scored.reasons)
        if scored.request is not None:
            self.requests.append(scored.request)

    def finish(
        self, part: int, number: int, start: int, path: str, quarantine: str, seconds: float
    ) -> tuple[Partition, dict[str, bytes]]:
        """The partition's record, and its files by name."""
        for writer in self._writers.values():
            writer.close()
        content, rows = self._scored.getvalue(), self.rows
        contents = {path: content} if rows.scored else {}
        contents |= {quarantine: self._quarantine.getvalue()} if rows.quarantined else {}
        record = Partition(
            part=part,
            number=number,
            start=start,
            rows=rows,
            path=path if rows.scored else None,
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            quarantine=quarantine if rows.quarantined else None,
            reasons=dict(self._reasons.most_common()),
            summary=_joined(self._summaries),
            seconds=seconds,
        )
        return record, contents

    def _write(self, kind: str, sink: io.BytesIO, table: pa.Table, csv: bool) -> None:
        self._counts[kind] += table.num_rows
        table = _plain_text(flat(table)) if csv else table
        if kind not in self._writers:
            self._writers[kind] = (
                pa_csv.CSVWriter(sink, table.schema, write_options=QUOTING)
                if csv
                else pq.ParquetWriter(
                    sink, table.schema, compression="zstd", dictionary_pagesize_limit=DICTIONARY
                )
            )
        self._writers[kind].write_table(table)


def _plain_text(table: pa.Table) -> pa.Table:
    """CSV knows no dictionaries."""
    for position, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            plain = table.column(position).cast(field.type.value_type)
            table = table.set_column(position, field.name, plain)
    return table


def _joined(summaries: list[dict[str, float]]) -> dict[str, float]:
    joined: dict[str, float] = {}
    for summary in summaries:
        for name, value in summary.items():
            join = {"min": min, "max": max}.get(name) if "sum" in summary else None
            if name in joined:
                joined[name] = join(joined[name], value) if join else joined[name] + value
            else:
                joined[name] = value
    return joined
