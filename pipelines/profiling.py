"""Profiling: from a table that nobody has described to a problem file that trains, and a page."""

import time
from pathlib import Path

from zenml import pipeline
from zenml.enums import ExecutionMode

from millrace.profiling.files import write_files
from millrace.profiling.settings import ProfilingSettings
from millrace.sources import Source
from pipelines.closing import write_summary
from pipelines.configuration import load_configuration
from pipelines.launch import launch
from pipelines.profiling_summary import ProfilingSummary, print_summary
from stacks.environment import home
from stacks.progress import StepLines
from stacks.stack_files import Stack
from steps.caching import cache_policy
from steps.profile import draft, ingest_raw, profile


@pipeline(execution_mode=ExecutionMode.FAIL_FAST, cache_policy=cache_policy())
def profiling(name: str, settings: ProfilingSettings, source: Source, target: str, cache: str) -> None:
    """Draft a problem called `name` that predicts `target` from the rows of `source`."""
    raw, origin = ingest_raw(source, cache)
    made, _, _ = draft(raw, origin, name, source, target, settings)
    profile(raw, made, settings)


def run(
    name: str,
    *,
    source: Source,
    target: str,
    path: Path,
    config: Path,
    overrides: list[str],
    use_cache: bool,
    summary: Path | None,
    started: float,
    stack: Stack,
    lines: StepLines,
) -> None:
    """Run the pipeline, write its files, the problem to `path`, and say what was decided.

    Raises:
        UserError: for what the user can mend; no file is then written.
    """
    configuration = load_configuration(config, overrides, ProfilingSettings)
    finished = launch(
        profiling,
        configuration.zenml,
        stack,
        use_cache,
        f"profiling_{name}",
        name=name,
        settings=configuration.settings,
        source=source,
        target=target,
        cache=str(home() / "cache"),
    )
    steps = finished.steps
    output = {
        kind: steps["draft"].outputs[kind][0].load() for kind in ("draft", "problem_file", "expectations")
    }
    page = steps["profile"].outputs["profile_page"][0].load()
    folder = home() / "profiles" / name
    write_files(output["problem_file"], path, page, output["expectations"], folder)
    outcome = ProfilingSummary.of(
        finished, output["draft"], path, folder, seconds=time.perf_counter() - started
    )
    if summary is not None:
        write_summary(outcome, summary)
    print_summary(outcome, cached="draft" not in lines.ran)
