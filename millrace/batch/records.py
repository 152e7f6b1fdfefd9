"""What is written down of a job: its partitions as they are finished, and at the end its manifest."""

import hashlib
from collections import Counter
from collections.abc import Iterable

from pydantic import Field

from millrace.strict import Strict

FORMAT = 1


class Rows(Strict):
    """Where the rows went; `read` is the sum of the others."""

    read: int
    scored: int
    quarantined: int


class Partition(Strict):
    """Consecutive rows of a part of the input, from `start` on, and the file with what became of them.

    `path` is None where no row was scored, `quarantine` where all were. `summary` counts the answers of
    a classification; otherwise it has the `sum`, `min` and `max` of the predictions.
    """

    part: int
    number: int
    start: int
    rows: Rows
    path: str | None
    bytes: int
    sha256: str
    quarantine: str | None
    reasons: dict[str, int]
    summary: dict[str, float]
    seconds: float


class PartRecord(Strict):
    """A part that has been read to its end; `schema` is that of its columns, types by name."""

    name: str
    partitions: int
    columns: dict[str, str]


class SetAside(Strict):
    """A file that was left out, and why."""

    name: str
    reason: str


class Logged(Strict):
    """How many rows the prediction log was given, and why no more, if it could not be written."""

    rows: int = 0
    fault: str | None = None


class Manifest(Strict):
    """A finished output: what is in it, and where it came from.

    `digest` is that of the scored rows' files, in order; it is the same however often the job was killed.
    `runs` are those that worked on it.
    """

    format: int = FORMAT
    job: str
    runs: tuple[str, ...]
    input: str
    model: str
    version: str
    bundle_digest: str
    interval: float | None
    explained: bool
    rows: Rows
    digest: str
    partitions: tuple[Partition, ...]
    parts: tuple[PartRecord, ...]
    set_aside: tuple[SetAside, ...]
    reasons: dict[str, int]
    notes: tuple[str, ...]
    logged: Logged = Field(default_factory=Logged)

    @property
    def summary(self) -> dict[str, float]:
        """The answers counted by class; or `mean`, `min` and `max` of the predictions."""
        parts = [partition.summary for partition in self.partitions if partition.rows.scored]
        if parts and "sum" in parts[0]:
            total = sum(part["sum"] for part in parts)
            low, high = min(part["min"] for part in parts), max(part["max"] for part in parts)
            return {"mean": total / self.rows.scored, "min": low, "max": high}
        return dict(sum((Counter(part) for part in parts), Counter[str]()))


def digest_of(partitions: Iterable[Partition]) -> str:
    """One digest of the files of scored rows, in order."""
    sums = [partition.sha256 for partition in partitions if partition.path]
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()


def total(partitions: Iterable[Partition]) -> tuple[Rows, dict[str, int]]:
    """The partitions' rows, and the reasons of those in quarantine, the commonest first."""
    read = scored = quarantined = 0
    reasons: Counter[str] = Counter()
    for partition in partitions:
        read += partition.rows.read
        scored += partition.rows.scored
        quarantined += partition.rows.quarantined
        reasons.update(partition.reasons)
    return Rows(read=read, scored=scored, quarantined=quarantined), dict(reasons.most_common())


def drift(parts: Iterable[PartRecord]) -> tuple[str, ...]:
    """What is different about the columns of parts, beside the first part, in words."""
    notes: list[str] = []
    first: PartRecord | None = None
    for part in parts:
        if first is None:
            first = part
            continue
        theirs, ours = part.columns, first.columns
        more, fewer = sorted(set(theirs) - set(ours)), sorted(set(ours) - set(theirs))
        other = [name for name in theirs if ours.get(name, theirs[name]) != theirs[name]]
        notes += [f"{part.name}: has a column '{name}' that the first file has not." for name in more]
        notes += [f"{part.name}: has no column '{name}', which the first file has." for name in fewer]
        notes += [f"{part.name}: '{n}' is {theirs[n]}, in the first file {ours[n]}." for n in other]
    return tuple(notes)
