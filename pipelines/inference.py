"""Inference: a registered model's predictions for every row of a table, as files."""

import time
from pathlib import Path

from zenml import pipeline
from zenml.enums import ExecutionMode

from millrace.batch import BatchSettings, Manifest
from millrace.batch.records import Logged, Rows, SetAside
from millrace.engine import EngineName
from millrace.errors import Incomplete
from millrace.registry import CHAMPION
from millrace.sources import Source
from millrace.strict import Strict
from pipelines.closing import make_facts, open_console, write_summary
from pipelines.configuration import load_configuration
from pipelines.launch import launch
from stacks.progress import StepLines
from stacks.stack_files import Stack
from steps.caching import cache_policy
from steps.score import Scoring, choose_model, score


class InferenceSummary(Strict):
    """The outcome of an inference run."""

    run_id: str
    run_name: str
    problem: str
    model_version: str
    bundle_digest: str
    input: str
    output: str
    job: str
    digest: str
    rows: Rows
    reasons: dict[str, int]
    predictions: dict[str, float]
    partitions: int
    left_out: tuple[SetAside, ...]
    notes: tuple[str, ...]
    logged: Logged
    seconds: float


@pipeline(execution_mode=ExecutionMode.FAIL_FAST, cache_policy=cache_policy())
def inference(problem: str, model: str, asked: Scoring) -> None:
    """Predict for every row of the source with a version of the problem's model."""
    chosen = choose_model(problem, model)
    score(chosen, asked)


def run(
    problem: str,
    *,
    source: Source,
    output: str,
    model: str | None,
    level: float | None,
    explain: bool,
    overwrite: bool,
    engine: EngineName,
    scheduler: str | None,
    config: Path,
    overrides: list[str],
    use_cache: bool,
    summary: Path | None,
    started: float,
    stack: Stack,
    lines: StepLines,  # noqa: ARG001 - nothing here is ever cached
) -> None:
    """Run the pipeline and say what came of it.

    Raises:
        UserError: for what the user can mend; `Incomplete` if files of the input were left out.
    """
    configuration = load_configuration(config, overrides, BatchSettings)
    asked = Scoring(
        source=source,
        output=output,
        level=level,
        explain=explain,
        overwrite=overwrite,
        engine=engine,
        scheduler=scheduler,
        settings=configuration.settings,
    )
    finished = launch(
        inference,
        configuration.zenml,
        stack,
        use_cache,
        f"inference_{problem}",
        problem=problem,
        model=model or CHAMPION,
        asked=asked,
    )
    manifest: Manifest = finished.steps["score"].outputs["manifest"][0].load()
    outcome = InferenceSummary(
        run_id=str(finished.id),
        run_name=finished.name,
        problem=problem,
        model_version=manifest.version,
        bundle_digest=manifest.bundle_digest,
        input=manifest.input,
        output=output,
        job=manifest.job,
        digest=manifest.digest,
        rows=manifest.rows,
        reasons=manifest.reasons,
        predictions=manifest.summary,
        partitions=len(manifest.partitions),
        left_out=manifest.set_aside,
        notes=manifest.notes,
        logged=manifest.logged,
        seconds=time.perf_counter() - started,
    )
    if summary is not None:
        write_summary(outcome, summary)
    print_summary(outcome)
    if outcome.left_out:
        raise Incomplete(
            f"{len(outcome.left_out)} of the input's files could not be read and "
            f"{'was' if len(outcome.left_out) == 1 else 'were'} left out: {outcome.left_out[0].reason}"
        )


def print_summary(summary: InferenceSummary) -> None:
    """Print the closing table."""
    from rich.text import Text

    console = open_console()
    facts = make_facts(f"{summary.problem}: predictions of version {summary.model_version}")
    rows = summary.rows
    parts = f"{rows.scored:,} scored + {rows.quarantined:,} quarantined"
    facts.add_row("rows", f"{rows.read:,} read = {parts}")
    for reason, count in list(summary.reasons.items())[:5]:
        facts.add_row("quarantined", Text(f"{reason} ({count:,} rows)"))
    for name, value in summary.predictions.items():
        facts.add_row("predictions", Text(f"{name}: {value:,.6g}"))
    for file in summary.left_out:
        facts.add_row("left out", Text(file.reason))
    for note in summary.notes:
        facts.add_row("note", Text(note))
    facts.add_row("output", Text(f"{summary.output}: {summary.partitions} partitions and _manifest.json"))
    facts.add_row("digest", summary.digest)
    facts.add_row("bundle", summary.bundle_digest)
    logged = summary.logged
    text = f"could not be written: {logged.fault}" if logged.fault else f"{logged.rows:,} rows"
    facts.add_row("prediction log", Text(text))
    facts.add_row("run", f"{summary.run_name}, {summary.seconds:.1f} s")
    console.print(facts)
