"""Rows of a table of any length, cleaned, encoded and kept on disk: a folder for each side of the split."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from millrace.bundle import to_json
from millrace.casting import cast, joined
from millrace.cleaning import REASON, RowCounts, row_faults
from millrace.contract import Problem
from millrace.digests import TableDigest, mix, row_digests
from millrace.engine import EngineName
from millrace.errors import UserError
from millrace.features import encode_inputs, encode_target, encoded
from millrace.large.drawing import Draw
from millrace.metrics import Floats
from millrace.splitting import ALL, SplitRecord, check_by_rows, parts
from millrace.strict import Strict
from millrace.transforms import Matrix

if TYPE_CHECKING:
    from millrace.sources.streams import Part

# Rows read and cleaned at once.
BATCH = 100_000
# Rows that are drawn of each kind, unless something else is said.
DRAWN, DRAW_SEED = 100_000, 2
# A hash is below it as often as a number from 0 to 1 is below 1.
HASHES = 2**64
SIDES = ("training", "holdout")
FILES = ("inputs.f64", "target.f64", "parts.u8")
Report = Callable[[int, float], None]
"""Called after each batch with the number of rows that have been read, and the share of the source."""


@dataclass(frozen=True)
class StoredRows:
    """Encoded rows on disk: inputs, the target, and each row's part.

    The parts are those of `millrace.splitting`, which folds are made of. `digest` is that of the rows and of
    all that they were encoded and are binned by.
    """

    folder: Path
    problem: Problem
    rows: int
    digest: str

    def inputs(self, start: int = 0, stop: int | None = None) -> Matrix:
        """Inputs [rows, inputs] of the rows from `start` to before `stop`."""
        width = len(self.problem.inputs)
        count = (self.rows if stop is None else min(stop, self.rows)) - start
        # Not mapped into memory: what is read would count as the process' own.
        read = np.fromfile(self.folder / "inputs.f64", np.float64, count * width, offset=8 * start * width)
        return read.reshape(count, width)

    @property
    def target(self) -> Floats:
        """The encoded target in its own unit: [rows]."""
        return np.fromfile(self.folder / "target.f64", np.float64)

    @property
    def parts(self) -> NDArray[np.uint8]:
        """Which part each row is in: [rows]."""
        return np.fromfile(self.folder / "parts.u8", np.uint8)

    def batches(self) -> Iterator[tuple[int, Matrix]]:
        """The inputs of all rows, some at a time, with the number of the first."""
        for start in range(0, self.rows, BATCH):
            yield start, self.inputs(start, start + BATCH)


class Account(Strict):
    """Where a table's rows went, their digest, who learnt from them, and how many stood for each side's."""

    rows: RowCounts
    digest: str
    engine: EngineName
    drawn_training: int
    drawn_holdout: int

    @property
    def sentence(self) -> str:
        """What was done with all rows and what with some, in words."""
        by = " by the workers of a Dask cluster" if self.engine == "dask" else ""
        return (
            "The table stayed on disk. All of its rows were checked against the contract, and all training "
            f"rows were cross-validated and learnt from{by}. What is said of columns and contributions is of "
            f"{self.drawn_training:,} training rows, and metrics on the holdout are of "
            f"{self.drawn_holdout:,} of its rows, drawn by their hashes. Repeated rows and keys were "
            "not looked for."
        )


@dataclass(frozen=True)
class Drawn:
    """Typed rows drawn from all: as they came, those that broke the contract, and each side of the split.

    Up to so many of each, and no row twice, but in quarantine.
    """

    bronze: pd.DataFrame
    quarantine: pd.DataFrame
    training: pd.DataFrame
    holdout: pd.DataFrame


@dataclass(frozen=True)
class Stored:
    """A table's rows on both sides of the split, the rule, where its rows went, and its digest."""

    training: StoredRows
    holdout: StoredRows
    split: SplitRecord
    counts: RowCounts
    digest: str
    drawn: Drawn

    def account(self, engine: EngineName) -> Account:
        """What is to be said of it once an engine has learnt from the rows."""
        return Account(
            rows=self.counts,
            digest=self.digest,
            engine=engine,
            drawn_training=len(self.drawn.training),
            drawn_holdout=len(self.drawn.holdout),
        )


def store(
    sources: "Sequence[Part]",
    problem: Problem,
    folder: Path,
    bad_rows_limit: float,
    *,
    draw: int = DRAWN,
    report: Report = lambda *_: None,
) -> Stored:
    """Clean and encode the rows of all parts of a source, which are to be read with the contract's columns.

    Repeated rows stay, and so do rows that share a key: to find them takes all rows at once. Repeated rows
    are on one side of the split, and in one part.

    Raises:
        UserError: more rows than the limit break the contract, a side is empty, or the contract splits by
            time, which takes all moments at once.
    """
    read = _Reading(problem, folder, draw)
    done, total = 0.0, sum(source.size for source in sources)
    with read.open_files:
        for source in sources:
            for batch in source.read(BATCH):
                read.add(cast(batch.table, problem, source.name))
                report(read.rows, (done + batch.share * source.size) / total)
            done += source.size
    return read.stored(bad_rows_limit)


def _rule(problem: Problem) -> SplitRecord:
    """The contract's rule, whose thresholds no row has a say in."""
    check_by_rows(problem)
    split = problem.split
    # As `SplitRecord` calls them.
    classes = ("False", "True") if problem.target.type == "boolean" else problem.classes
    strata = classes if classes and split.by == "rows" else (ALL,)
    return SplitRecord(
        by=split.by,
        column=split.column,
        seed=split.seed,
        holdout=split.holdout,
        thresholds=dict.fromkeys(strata, int(split.holdout * HASHES)),
        training_rows=0,
        holdout_rows=0,
    )


class _Reading:
    """What has been read so far."""

    def __init__(self, problem: Problem, folder: Path, draw: int) -> None:
        self.rows = self._quarantined = 0
        self._problem, self._rule = problem, _rule(problem)
        # Of batches, some would hold both rows of a key.
        self._alone = problem.model_copy(update={"key": None})
        # Neither the seed that holds rows out nor the one that parts them: that would draw from some alone.
        self._seed = problem.split.seed + DRAW_SEED
        self._digest = TableDigest()
        self._draws = {kind: Draw(draw) for kind in ("bronze", "quarantine", *SIDES)}
        self.open_files = ExitStack()
        self._sides = {side: _Side(folder / side, problem, self.open_files) for side in SIDES}

    def add(self, bronze: pd.DataFrame) -> None:
        """The next rows."""
        self._digest.add(bronze)
        table = bronze[list(self._problem.columns)]
        hashes = mix(row_digests(table), self._seed)
        self._draws["bronze"].add(bronze, hashes)
        sound = self._set_aside(bronze)
        self.rows += len(bronze)
        silver, hashes = table[sound], hashes[sound]
        if not len(silver):
            return
        held = self._rule.held_out(silver, self._problem)
        for side, rows in zip(SIDES, (~held, held), strict=True):
            self._sides[side].write(silver[rows])
            self._draws[side].add(silver[rows], hashes[rows])

    def _set_aside(self, bronze: pd.DataFrame) -> NDArray[np.bool_]:
        """Draw from the rows that break the contract; which ones do not: [rows]."""
        reasons = joined(row_faults(bronze, self._alone)[0])
        bad = reasons.index.to_numpy()
        self._draws["quarantine"].add(
            bronze.iloc[bad].assign(**{REASON: reasons.to_numpy()}),
            mix((self.rows + bad).astype(np.uint64), self._seed),
        )
        self._quarantined += len(bad)
        sound = np.ones(len(bronze), dtype=np.bool_)
        sound[bad] = False
        return sound

    def stored(self, limit: float) -> Stored:
        """All of it.

        Raises:
            UserError: too many rows break the contract, or a side is empty.
        """
        if not self.rows:
            raise UserError("The source has no rows.")
        drawn = Drawn(**{kind: draw.rows() for kind, draw in self._draws.items()})
        if self._quarantined > limit * self.rows:
            common = drawn.quarantine[REASON].value_counts().head(3)
            raise UserError(
                f"{self._quarantined:,} of {self.rows:,} rows break the contract of '{self._problem.name}', "
                f"more than the limit of {limit:.1%}. Most often: {'; '.join(map(str, common.index))}. Mend "
                "the data or the contract, or raise the limit with --set bad_rows_limit=SHARE."
            )
        training, holdout = (self._sides[side].rows() for side in SIDES)
        for side in (training, holdout):
            if not side.rows:
                raise UserError(f"Of {self.rows:,} rows none is on the {side.folder.name} side; bring more.")
        return Stored(
            training,
            holdout,
            self._rule.model_copy(update={"training_rows": training.rows, "holdout_rows": holdout.rows}),
            RowCounts(
                read=self.rows,
                used=self.rows - self._quarantined,
                quarantined=self._quarantined,
                duplicates=0,
            ),
            self._digest.hexdigest(),
            drawn,
        )


class _Side:
    """One side's files while they are written."""

    def __init__(self, folder: Path, problem: Problem, stack: ExitStack) -> None:
        folder.mkdir(parents=True)
        self._folder, self._problem, self._count = folder, problem, 0
        self._files: list[IO[bytes]] = [stack.enter_context((folder / name).open("wb")) for name in FILES]
        self._digest = hashlib.sha256(to_json(problem.model_dump(mode="json")))
        # Another LightGBM may not read what this one binned.
        self._digest.update(version("lightgbm").encode())

    def write(self, silver: pd.DataFrame) -> None:
        """Sound rows, encoded."""
        if not len(silver):
            return
        problem = self._problem
        arrays: tuple[NDArray[Any], ...] = (
            encode_inputs(silver, encoded(problem)),
            encode_target(silver[problem.target.name], problem),
            parts(silver, problem).astype(np.uint8),
        )
        for file, values in zip(self._files, arrays, strict=True):
            self._digest.update(values.data)
            values.tofile(file)
        self._count += len(silver)

    def rows(self) -> StoredRows:
        """What has been written."""
        return StoredRows(self._folder, self._problem, self._count, self._digest.hexdigest())
