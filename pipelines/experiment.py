"""Experiments: does a challenger that answers for a share of the keys predict better than the champion?"""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from zenml import pipeline
from zenml.enums import ExecutionMode
from zenml.models import PipelineRunResponse

from millrace.errors import UserError
from millrace.experiments import Decision, ExperimentSettings, Record, Verdict
from pipelines.closing import tell_damaged, write_summary
from pipelines.configuration import Configuration, load_configuration
from pipelines.experiment_summary import ExperimentSummary, print_summary
from pipelines.launch import launch
from stacks.progress import StepLines
from stacks.stack_files import Stack
from steps.experiment import (
    Planning,
    close_experiment,
    experiments_folder,
    look,
    plan_experiment,
    settle,
)

# What is to be done; `stop` ends an experiment whatever it has found.
Task = Literal["plan", "look", "decide", "stop"]


@pipeline(execution_mode=ExecutionMode.FAIL_FAST)
def planning(asked: Planning) -> None:
    """Plan an experiment."""
    plan_experiment(asked)


@pipeline(execution_mode=ExecutionMode.FAIL_FAST)
def experiment(folder: str, until: datetime) -> None:
    """Look at an experiment."""
    look(folder, until)


@pipeline(execution_mode=ExecutionMode.FAIL_FAST)
def settling(folder: str) -> None:
    """Do what was decided."""
    close_experiment(folder, settle(folder))


def run(
    problem: str,
    *,
    task: Task,
    challenger: str | None,
    config: Path,
    overrides: list[str],
    use_cache: bool,  # noqa: ARG001 - nothing here is ever cached
    summary: Path | None,
    started: float,
    stack: Stack,
    lines: StepLines,  # noqa: ARG001 - nothing here is ever cached
) -> None:
    """Plan an experiment, look at the one that is running, or end it; and say what came of it.

    Raises:
        UserError: for what the user can mend; `Incomplete` if parts of the log could not be read.
    """
    configuration = load_configuration(config, overrides, ExperimentSettings)
    session = _Session(problem, stack, configuration)
    verdict: Verdict | None = None
    if task == "plan":
        finished: PipelineRunResponse | None = session.plan(challenger)
        record = session.latest()
    else:
        record = session.latest()
        verdict, finished = session.go_on(record, task)
    end = record.end
    outcome = ExperimentSummary(
        run_id=str(finished.id) if finished else None,
        run_name=finished.name if finished else None,
        problem=problem,
        outcome=end.status if end else verdict.status if verdict else "planned",
        plan=record.plan,
        days=record.plan.days,
        verdict=verdict,
        end=end,
        record=str(record.folder),
        seconds=time.perf_counter() - started,
    )
    if summary is not None:
        write_summary(outcome, summary)
    print_summary(outcome)
    if verdict is not None:
        tell_damaged(verdict.counted.damaged)


class _Session:
    """A problem's experiments on a stack."""

    def __init__(self, problem: str, stack: Stack, configuration: Configuration[ExperimentSettings]) -> None:
        self.problem = problem
        self.stack = stack
        self.configuration = configuration
        self.folder = experiments_folder(stack.name, problem)

    def latest(self) -> Record:
        """The experiment that is running, or else the last one."""
        record = Record.latest(self.folder)
        if record is None:
            raise UserError(
                f"There is no experiment of '{self.problem}' on the stack '{self.stack.name}'; plan one: "
                f"python run.py --pipeline experiment --problem {self.problem} --plan"
            )
        return record

    def plan(self, challenger: str | None) -> PipelineRunResponse:
        """Plan one, unless one is running: refused here, it leaves no failed run."""
        Record.refuse_second(self.folder)
        asked = Planning(
            problem=self.problem,
            stack=self.stack.name,
            started=datetime.now(UTC).replace(microsecond=0),
            challenger=challenger,
            settings=self.configuration.settings,
        )
        return self._launch(planning, asked=asked)

    def go_on(self, record: Record, task: Task) -> tuple[Verdict | None, PipelineRunResponse | None]:
        """Look at an experiment, decide if that is asked for, and do what was decided.

        One that has ended is left as it is; what was decided before a crash is not decided anew.
        """
        verdict: Verdict | None = None
        finished: PipelineRunResponse | None = None
        if record.end is not None:
            return None, None
        decided = record.decision is not None
        if not decided and task != "stop":
            finished = self._launch(experiment, folder=str(record.folder), until=datetime.now(UTC))
            verdict = finished.steps["look"].outputs["verdict"][0].load()
        if task == "look":
            return verdict, finished
        if not decided:
            decision = _decision(verdict)
            if decision is None:
                return verdict, finished
            record.decide(decision)
        return verdict, self._launch(settling, folder=str(record.folder))

    def _launch(self, chosen: Any, **parameters: Any) -> PipelineRunResponse:
        name = f"experiment_{self.problem}"
        return launch(chosen, self.configuration.zenml, self.stack, True, name, **parameters)


def _decision(verdict: Verdict | None) -> Decision | None:
    """What a verdict, or a person without one, decides; None to go on."""
    if verdict is None:
        return Decision(status="stop", reasons=("It was stopped by hand.",), time=datetime.now(UTC))
    if verdict.status == "go on":
        return None
    return Decision(status=verdict.status, reasons=verdict.reasons, time=verdict.time)
