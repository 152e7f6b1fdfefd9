"""A job: parts of an input read, scored by an engine, written partition by partition, and published."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple

from millrace.batch.engines import Engine, in_order, start
from millrace.batch.output import LEDGER, QUARANTINE, Begun, Output, OutputError
from millrace.batch.partition import PartitionWriter
from millrace.batch.recording import record
from millrace.batch.records import (
    Logged,
    Manifest,
    Partition,
    PartRecord,
    Rows,
    SetAside,
    digest_of,
    drift,
    total,
)
from millrace.batch.rows import Asked
from millrace.batch.settings import BatchSettings
from millrace.bundle import Bundle
from millrace.engine import EngineName
from millrace.errors import EngineError, UserError
from millrace.prediction_log import LogSettings, ModelName
from millrace.sources.streams import Batch, Part

# Bytes of input from which on it pays to compile the trees first: a hundred thousand rows or more.
LARGE = 4 * 2**20
# So many times the bad rows that the whole input may have are enough to give it up: how many rows it has is a
# guess, by the bytes that have been read.
HOPELESS = 2


class Progress(NamedTuple):
    """How far a job is: rows that this run has done, and the share of the input that any run has."""

    rows: int
    share: float


Report = Callable[[Progress], None]


class TooManyBadRows(UserError):  # noqa: N818 - it says what is wrong
    """More rows break the contract than the settings allow."""


@dataclass(frozen=True)
class Job:
    """What is to be scored, by what, and what is to be said of each row."""

    origin: str
    parts: Sequence[Part]
    bundle: Bundle
    model: ModelName
    settings: BatchSettings
    level: float | None = None
    explain: bool = False
    log: LogSettings | None = None
    engine: EngineName = "local"
    scheduler: str | None = None

    @property
    def compiled(self) -> bool:
        """Whether to compile the trees before anything is scored."""
        large = sum(part.size for part in self.parts) >= LARGE
        return self.settings.trees == "compiled" or (self.settings.trees == "auto" and large)

    @property
    def keep(self) -> str:
        """`key` or `all`: which columns of the input the output has."""
        if self.settings.columns == "auto":
            return "key" if self.bundle.problem.key else "all"
        return self.settings.columns

    def identity(self, csv: bool) -> str:
        """What the output depends on, as 16 hexadecimal digits: another one is another job."""
        said = [
            [[part.name, part.identity] for part in self.parts],
            [self.model.name, self.model.version, self.bundle.digest],
            [self.level, self.explain, self.keep, csv],
            [self.settings.batch_rows, self.settings.partition_rows],
        ]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def run_job(job: Job, output: Output, run: str, overwrite: bool, report: Report = lambda _: None) -> Manifest:
    """Score the input and publish the output, or go on with it where an earlier run was stopped.

    `run` is the name of this run. Calls `report` after each batch.

    Raises:
        UserError: there is nothing to score, too many rows break the contract, or the output cannot be
            written or is there already. But for a fault of the store, nothing is left behind.
    """
    output.refuse_overlap([part.place for part in job.parts if part.place])
    name = job.identity(output.csv)
    begun = output.open(name, run, time.time(), overwrite)
    try:
        return _Run(job, output, begun, report).finish()
    finally:
        output.close()


class _Run:
    """One run's work on a job."""

    def __init__(self, job: Job, output: Output, begun: Begun, report: Report) -> None:
        self.job, self.output, self.begun, self.report = job, output, begun, report
        logged = job.settings.log_rows if job.log else 0
        self.asked = Asked(
            job.model.version, begun.job, job.level, job.explain, job.keep, logged, job.compiled
        )
        self.done, self.whole = output.finished()
        self.set_aside: list[SetAside] = []
        self.rows = 0
        self.bytes = sum(part.size for part in job.parts)
        self.before = 0

    def finish(self) -> Manifest:
        try:
            self._work()
        except EngineError:
            if not self.done:
                self.output.discard()
            raise
        partitions = [p for number in self.whole for p in self.done.get(number, [])]
        partitions.sort(key=lambda partition: (partition.part, partition.number))
        manifest = self._manifest(partitions)
        self._judge(manifest)
        logged, job = Logged(), self.job
        if job.log is not None:
            requests = self._requests(partitions)
            logged = record(requests, job.bundle, job.model, job.log, self.begun, job.compiled)
        manifest = manifest.model_copy(update={"logged": logged})
        self.output.publish(manifest)
        return manifest

    def _work(self) -> None:
        job = self.job
        with start(job.engine, job.scheduler, job.bundle, self.asked) as engine:
            for number, part in enumerate(job.parts):
                if number not in self.whole:
                    self._read(number, part, engine)
                self.before += part.size

    def _read(self, number: int, part: Part, engine: Engine) -> None:
        """Score a part; one that cannot be read is set aside, with what has been scored of it."""
        try:
            self._score(number, part, engine)
        except (OutputError, EngineError, TooManyBadRows):
            raise
        except UserError as fault:
            if self.job.settings.bad_files == "fail" or len(self.job.parts) == 1:
                self.output.discard()
                raise
            for partition in self.done.pop(number, []):
                self.output.drop(partition)
            self.set_aside.append(SetAside(name=part.name, reason=str(fault)))

    def _score(self, number: int, part: Part, engine: Engine) -> None:
        size = self.job.settings.batch_rows
        together = self.job.settings.partition_rows // size
        done = {partition.number for partition in self.done.get(number, [])}
        columns: dict[str, str] = {}

        def unfinished() -> Iterator[tuple[int, Batch]]:
            for position, batch in enumerate(part.read(size)):
                columns.update(batch.schema)
                if position // together not in done:
                    yield position, batch

        writer, current, began, reached = PartitionWriter(self.output.csv), -1, time.monotonic(), 0.0
        with closing(in_order(engine, size, part.name, unfinished())) as results:
            for position, share, scored in results:
                if position // together != current and current >= 0:
                    self._keep(number, current, writer, began)
                    self._give_up(reached)
                    writer, began = PartitionWriter(self.output.csv), time.monotonic()
                current = position // together
                writer.add(scored)
                self.rows += scored.table.num_rows + scored.quarantine.num_rows
                reached = (self.before + share * part.size) / self.bytes
                self.report(Progress(self.rows, reached))
        if current >= 0:
            self._keep(number, current, writer, began)
            self._give_up(reached)
        record = PartRecord(name=part.name, partitions=len(self.done.get(number, [])), columns=columns)
        self.output.keep_part(number, record)
        self.whole[number] = record

    def _keep(self, part: int, number: int, writer: PartitionWriter, began: float) -> None:
        name = f"part-{part:05d}-{number:05d}-{self.begun.job[:8]}"
        path = f"{name}.{'csv' if self.output.csv else 'parquet'}"
        start = number * self.job.settings.partition_rows
        seconds = time.monotonic() - began
        partition, contents = writer.finish(
            part, number, start, path, f"{QUARANTINE}/{name}.parquet", seconds
        )
        for file, content in contents.items():
            self.output.write(file, content)
        if writer.requests:
            self.output.write(_requests_of(partition), b"\n".join(writer.requests))
        self.output.keep(partition)
        self.done.setdefault(part, []).append(partition)

    def _requests(self, partitions: Sequence[Partition]) -> Iterator[tuple[str, float, bytes]]:
        """What is to be logged of each batch: a name, its seconds, and rows as a service's request."""
        for partition in partitions:
            if partition.rows.scored:
                bodies = self.output.read(_requests_of(partition)).split(b"\n")
                for number, body in enumerate(bodies):
                    name = f"batch-{self.begun.job}-{partition.part}-{partition.number}-{number}"
                    yield name, partition.seconds / len(bodies), body

    def _manifest(self, partitions: Sequence[Partition]) -> Manifest:
        rows, reasons = total(partitions)
        parts = [self.whole[number] for number in sorted(self.whole)]
        if rows.read != rows.scored + rows.quarantined:
            raise RuntimeError(f"Rows were lost in scoring: {rows}.")
        return Manifest(
            job=self.begun.job,
            runs=self.begun.runs,
            input=self.job.origin,
            model=self.job.model.name,
            version=self.job.model.version,
            bundle_digest=self.job.bundle.digest,
            interval=self.job.level,
            explained=self.job.explain,
            rows=rows,
            digest=digest_of(partitions),
            partitions=tuple(partitions),
            parts=tuple(parts),
            set_aside=tuple(self.set_aside),
            reasons=reasons,
            notes=drift(parts),
        )

    def _judge(self, manifest: Manifest) -> None:
        """Refuse an output that is none, and leave nothing of it behind.

        Raises:
            UserError: no row was read, or too many break the contract.
        """
        rows = manifest.rows
        if not rows.read:
            self.output.discard()
            aside = f" {self.set_aside[0].reason}" if self.set_aside else ""
            raise UserError(f"{self.job.origin}: has no rows to score.{aside}")
        if rows.quarantined > self.job.settings.bad_rows_limit * rows.read:
            self._refuse(rows, manifest.reasons, "")

    def _give_up(self, share: float) -> None:
        """End a job that cannot be saved, now that a share of its input has been read.

        Raises:
            UserError: so many rows break the contract that too many would if all others kept it.
        """
        rows, reasons = total(partition for found in self.done.values() for partition in found)
        if rows.quarantined * share > HOPELESS * self.job.settings.bad_rows_limit * rows.read:
            self._refuse(rows, reasons, f" with {share:.0%} of the input read,")

    def _refuse(self, rows: Rows, reasons: dict[str, int], when: str) -> None:
        self.output.discard()
        listed = "; ".join(f"{why} ({count:,} rows)" for why, count in list(reasons.items())[:3])
        raise TooManyBadRows(
            f"{rows.quarantined:,} of {rows.read:,} rows break the contract of '{self.job.model.name}',"
            f"{when} more than the limit of {self.job.settings.bad_rows_limit:.1%}. Most often: {listed}. "
            "Mend the data, or raise the limit with --set bad_rows_limit=SHARE."
        )


def _requests_of(partition: Partition) -> str:
    return f"{LEDGER}/requests-{partition.part:05d}-{partition.number:05d}.jsonl"
