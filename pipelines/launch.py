"""Starting a pipeline's run, whichever pipeline it is."""

from typing import Any

from zenml.client import Client
from zenml.models import PipelineRunResponse
from zenml.pipelines.pipeline_definition import Pipeline

from stacks.dead_runs import this_process
from stacks.outcomes import SUBJECT, Subject, note_failed_step, noting
from stacks.stack_files import Stack


def launch(
    pipeline: Pipeline,
    options: dict[str, Any],
    stack: Stack,
    use_cache: bool,
    experiment: str,
    *,
    called: str | None = None,
    told: dict[str, Any] | None = None,
    **parameters: Any,
) -> PipelineRunResponse:
    """Run a pipeline on the active stack until it ends, and return the finished run.

    The run is `called` so, or else as its experiment is, and has that as a tag; `told` is kept with
    it. Its own settings come before those of the stack. How it ends is noted for Prometheus.

    Errors of steps come through as they are: the pipelines fail fast.
    """
    if not use_cache:
        options = {**options, "enable_cache": False}
    settings = {**stack.settings, **options.get("settings", {})}
    options = {**stack.run_options(), **options}
    # Of a run in a cluster, this process is not the one that makes it.
    here = stack.components["orchestrator"].flavor == "local"
    name = called or experiment
    subject = _subject(pipeline, name, stack)
    process = {"process": this_process()} if here else {}
    configured = pipeline.with_options(
        **{
            **options,
            "run_name": f"{name}-{{date}}-{{time}}",
            "extra": {SUBJECT: subject.model_dump(), **process, **(told or {})},
            "on_failure": note_failed_step,
            "tags": [name],
            "settings": {**settings, "experiment_tracker": {"experiment_name": experiment}},
        }
    )
    with noting(subject):
        run = configured(**parameters)
    return Client().get_pipeline_run(run.id)


def _subject(pipeline: Pipeline, name: str, stack: Stack) -> Subject:
    """What runs, in the command line's words; runs of training are called as the problem is."""
    if pipeline.name in ("training", "large_training"):
        return Subject(stack=stack.name, pipeline="training", problem=name)
    kind, _, problem = name.partition("_")
    return Subject(stack=stack.name, pipeline=kind, problem=problem)
