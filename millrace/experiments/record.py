"""An experiment's record: a folder with its plan, a line of JSON for each look, the decision, and the end.

Each file is written whole or not at all, and but for the looks only once. What a crash has left unfinished
shows in what is there: with a decision and no end, what was decided may not have been done yet.
"""

import contextlib
import os
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ValidationError

from millrace.durable import add_line, read_lines
from millrace.errors import UserError
from millrace.experiments.planning import Plan
from millrace.experiments.verdict import Difference, Finding, Status, Verdict
from millrace.strict import Strict

PLAN, LOOKS, DECISION, END = "plan.json", "looks.jsonl", "decision.json", "end.json"
Model = TypeVar("Model", bound=Strict)


class Look(Strict):
    """What is kept of a look."""

    run: str
    time: datetime
    status: Status
    finding: Finding
    units: int
    progress: float
    difference: Difference | None

    @classmethod
    def of(cls, verdict: Verdict, run: str) -> "Look":
        """That of a verdict by the run of this name."""
        return cls(
            run=run,
            time=verdict.time,
            status=verdict.status,
            finding=verdict.finding,
            units=verdict.champion.labelled_units + verdict.challenger.labelled_units,
            progress=verdict.progress,
            difference=verdict.difference,
        )


class Decision(Strict):
    """How an experiment ends, and why."""

    status: Literal["promote", "stop", "void"]
    reasons: tuple[str, ...]
    time: datetime


class End(Strict):
    """What became of a decision: who is champion now, and the Bento that serves it, if it was built for that.

    A promotion ends void where another version became champion between the decision and its turn.
    """

    status: Literal["promote", "stop", "void"]
    reasons: tuple[str, ...]
    champion: str
    bento: str
    time: datetime


class Record:
    """One experiment's."""

    def __init__(self, folder: Path) -> None:
        """`folder` has its plan."""
        self.folder = folder
        self.plan = _read(folder / PLAN, Plan)

    @classmethod
    def begin(cls, experiments: Path, plan: Plan) -> "Record":
        """Write a plan down in a folder of its own below `experiments`.

        Raises:
            UserError: there is an experiment that has not ended, or the folder cannot be written.
        """
        cls.refuse_second(experiments)
        folder = experiments / f"{plan.started:%Y%m%dT%H%M%SZ}"
        if (folder / PLAN).exists():
            raise UserError(f"{folder}: an experiment was planned this very second; plan once more.")
        _write(folder / PLAN, plan)
        return cls(folder)

    @classmethod
    def refuse_second(cls, experiments: Path) -> None:
        """See that the last one has ended.

        Raises:
            UserError: it has not.
        """
        last = cls.latest(experiments)
        if last is not None and last.end is None:
            raise UserError(
                f"There is an experiment of version {last.plan.challenger.version} beside version "
                f"{last.plan.champion.version}, planned {last.plan.started:%Y-%m-%d %H:%M} UTC. End it "
                "first: --decide; or --decide stop, whatever it has found."
            )

    @classmethod
    def latest(cls, experiments: Path) -> "Record | None":
        """The last that was planned, if any was."""
        planned = sorted(path.parent for path in experiments.glob(f"*/{PLAN}"))
        return cls(planned[-1]) if planned else None

    @property
    def decision(self) -> Decision | None:
        """How it ends, once that is decided."""
        return _read(self.folder / DECISION, Decision) if (self.folder / DECISION).exists() else None

    @property
    def end(self) -> End | None:
        """What became of it, once all is done."""
        return _read(self.folder / END, End) if (self.folder / END).exists() else None

    def looks(self) -> list[Look]:
        """All looks, the oldest first."""
        return list(read_lines(self.folder / LOOKS, Look))

    def add(self, look: Look) -> None:
        """Keep a look."""
        add_line(self.folder / LOOKS, look)

    def decide(self, decision: Decision) -> Decision:
        """Write a decision down, unless there is one; returns the one that is there."""
        with contextlib.suppress(FileExistsError):
            _write(self.folder / DECISION, decision)
        return _read(self.folder / DECISION, Decision)

    def close(self, end: End) -> End:
        """Write down that all is done, unless it was; returns what is there."""
        with contextlib.suppress(FileExistsError):
            _write(self.folder / END, end)
        return _read(self.folder / END, End)


def _write(path: Path, model: Strict) -> None:
    """Write a file that outlives a crash; only the first of several that do so at once.

    Raises:
        FileExistsError: it is there.
        UserError: it cannot be written.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("w", encoding="utf-8") as file:
            file.write(model.model_dump_json(indent=2) + "\n")
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(scratch)
    except FileExistsError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}).") from None
    finally:
        scratch.unlink(missing_ok=True)


def _read(path: Path, model: type[Model]) -> Model:
    try:
        return model.model_validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise UserError(
            f"{path}: cannot be read ({str(error).splitlines()[0]}). Delete its folder to begin anew."
        ) from None
