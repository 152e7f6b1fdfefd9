"""Retraining: a new model because something has happened, judged on what is recent."""

import os
import time
from contextlib import suppress
from datetime import UTC
from pathlib import Path
from typing import Literal

from pydantic import ValidationError
from zenml import pipeline
from zenml.client import Client
from zenml.enums import ExecutionMode
from zenml.models import PipelineRunResponse

from millrace.contract import Problem
from millrace.errors import UserError
from millrace.registry import CHAMPION
from millrace.retraining import Attempt, RetrainingSettings, Trigger, admit, resumed
from millrace.settings import TrainingSettings
from millrace.sources import Source
from millrace.strict import Strict
from pipelines.closing import make_facts, open_console, write_summary
from pipelines.configuration import load_configuration
from pipelines.launch import launch
from pipelines.summary import Summary, print_summary, summarise
from pipelines.training import is_large, train_on
from stacks.environment import home
from stacks.progress import StepLines
from stacks.stack_files import Stack
from steps.caching import cache_policy
from steps.gather import Gathering, gather, is_new
from steps.locks import only_one
from steps.score import choose_model

TRAINING = "training."
# Of earlier runs, so many are looked at; a budget is of fewer.
LOOKED_AT = 200
Result = Literal["promoted", "kept", "skipped"]


class RetrainingSummary(Strict):
    """What came of a trigger: the new model is `promoted`, the old one `kept`, or no model was made.

    `rows` says where those of the training are from.
    """

    problem: str
    outcome: Result
    why: str
    trigger: Trigger
    rows: str | None
    training: Summary | None
    seconds: float


@pipeline(execution_mode=ExecutionMode.FAIL_FAST, cache_policy=cache_policy())
def retraining(
    problem: Problem, settings: TrainingSettings, source: Source, cache: str, asked: Gathering
) -> None:
    """Train a challenger of the champion of `problem` on fresh rows, and judge both on recent ones."""
    champion = choose_model(problem.name, CHAMPION)
    bronze, recent = gather(problem, source, cache, champion, asked)
    train_on(bronze, problem, settings, recent)


def run(
    problem: Problem,
    *,
    source: Source,
    trigger: Trigger,
    config: Path,
    overrides: list[str],
    use_cache: bool,
    summary: Path | None,
    started: float,
    stack: Stack,
    lines: StepLines,
) -> None:
    """Run the pipeline, unless there is a reason not to; say what came of it.

    Raises:
        UserError: for what the user can mend; nothing is then registered.
    """
    of_training = [each for each in overrides if each.startswith(TRAINING)]
    own = [each for each in overrides if each not in of_training]
    settings = load_configuration(config, own, RetrainingSettings).settings
    configuration = load_configuration(
        config.parent / settings.training, of_training, TrainingSettings, prefix=TRAINING
    )
    configuration.settings.check(problem)
    if is_large(source, problem, configuration.settings, sure=False):
        raise UserError(
            f"The source of '{problem.name}' is too large for memory (large.mib), where a retraining has its "
            "rows: use --pipeline training."
        )
    name = f"retraining_{problem.name}"
    with only_one(name) as alone:
        past = attempts(name)
        why = _refusal(problem, source, trigger, past, settings, alone)
        finished = None
        if why is None:
            trigger = resumed(trigger, past)
            finished = launch(
                retraining,
                configuration.zenml,
                stack,
                use_cache,
                problem.name,
                called=name,
                told={"trigger": trigger.model_dump(mode="json")},
                problem=problem,
                settings=configuration.settings,
                source=source,
                cache=str(home() / "cache"),
                asked=Gathering(trigger=trigger, settings=settings),
            )
    outcome = _summarise(problem, trigger, why, finished, time.perf_counter() - started)
    if summary is not None:
        write_summary(outcome, summary)
    if outcome.training is not None:
        confidence = configuration.settings.confidence
        print_summary(outcome.training, confidence, cached="fit_best" not in lines.ran, stack=stack)
    _print(outcome)


def _summarise(
    problem: Problem,
    trigger: Trigger,
    refusal: str | None,
    finished: PipelineRunResponse | None,
    seconds: float,
) -> RetrainingSummary:
    """What a finished run has come to, or why there is none."""
    trained = summarise(finished, problem, seconds) if finished else None
    rows = finished.steps["gather"].outputs["bronze"][0].run_metadata["rows"] if finished else None
    result: Result = "skipped" if trained is None else "promoted" if trained.promoted else "kept"
    return RetrainingSummary(
        problem=problem.name,
        outcome=result,
        why=trained.reason if trained else str(refusal),
        trigger=trigger,
        rows=None if rows is None else str(rows),
        training=trained,
        seconds=seconds,
    )


def attempts(name: str) -> list[Attempt]:
    """The earlier runs of this name on the active stack, newest first, however they ended."""
    runs = Client().list_pipeline_runs(
        tags=[name],
        stack_id=os.environ["ZENML_ACTIVE_STACK_ID"],
        sort_by="desc:created",
        size=LOOKED_AT,
        hydrate=True,
    )
    found = []
    for run in runs.items:
        with suppress(KeyError, ValidationError):
            trigger = Trigger.model_validate(run.config.extra["trigger"])
            # ZenML's moments are UTC without a zone.
            started, ended = (moment and moment.replace(tzinfo=UTC) for moment in (run.created, run.end_time))
            found.append(Attempt(run.name, trigger, started, ended, run.status.value))
    return found


def _refusal(
    problem: Problem,
    source: Source,
    trigger: Trigger,
    past: list[Attempt],
    settings: RetrainingSettings,
    alone: bool,
) -> str | None:
    """Why nothing is to be trained, if so."""
    if not alone:
        running = next((each.name for each in past if each.ended is None), "another process")
        return f"A retraining of '{problem.name}' is at work already: {running}."
    why = admit(trigger, past, settings)
    if why is None and trigger.kind == "data" and not is_new(problem, source):
        return f"{source.origin} has the rows that the champion has learnt from."
    return why


def _print(outcome: RetrainingSummary) -> None:
    facts = make_facts(f"{outcome.problem}: {outcome.outcome}")
    facts.add_row("trigger", f"{outcome.trigger.kind}: {outcome.trigger.reason}")
    if outcome.trigger.cause:
        facts.add_row("cause", outcome.trigger.cause)
    if outcome.rows:
        facts.add_row("rows", outcome.rows)
    facts.add_row("why", outcome.why)
    open_console().print(facts)
