"""Starting a pipeline's run, whichever pipeline it is."""

from typing import Any

from zenml.client import Client
from zenml.models import PipelineRunResponse
from zenml.pipelines.pipeline_definition import Pipeline

from stacks.dead_runs import this_process


def launch(
    pipeline: Pipeline, options: dict[str, Any], use_cache: bool, experiment: str, **parameters: Any
) -> PipelineRunResponse:
    """Run a pipeline on the active stack until it ends, and return the finished run.

    Errors of steps come through as they are: the pipelines fail fast.
    """
    if not use_cache:
        options = {**options, "enable_cache": False}
    configured = pipeline.with_options(
        **options,
        run_name=f"{experiment}-{{date}}-{{time}}",
        extra={"process": this_process()},
        tags=[experiment],
        settings={"experiment_tracker": {"experiment_name": experiment}},
    )
    run = configured(**parameters)
    return Client().get_pipeline_run(run.id)
