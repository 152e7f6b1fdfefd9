"""Deployment: a version takes over as the service of a target, or the one before stays."""

import time
from pathlib import Path

from zenml import pipeline
from zenml.enums import ExecutionMode

from millrace.deployments import Deployment, Deployments, experiment_name
from millrace.errors import UserError
from millrace.registry import CHAMPION, Registry
from pipelines.closing import make_facts, open_console, write_summary
from pipelines.launch import launch
from stacks.stack_files import Stack
from stacks.tracking import tracking_uri
from steps.deploy import Deploying, alone_on, deploy, pack, record
from steps.score import choose_model
from targets.blue_green import BlueGreenSettings
from targets.files import TargetSettings

# As configs/training.yaml has them. What there is to configure is in configs/targets/.
OPTIONS = {"enable_step_logs": False, "enable_heartbeat": False}

SAID = {"deployed": "deployed", "unchanged": "unchanged", "refused": "refused", "rolled_back": "rolled back"}


class DeploymentSummary(Deployment):
    """The outcome of a deployment, and the runs of ZenML and MLflow that have kept it."""

    run_name: str
    mlflow_run: str


@pipeline(execution_mode=ExecutionMode.FAIL_FAST)
def deployment(problem: str, model: str, asked: Deploying) -> None:
    """Deploy a version."""
    chosen = choose_model(problem, model)
    record(deploy(pack(chosen, asked), chosen, asked))


def run(
    problem: str,
    *,
    target: str,
    version: str | None,
    image: str | None,
    going_back: bool,
    summary: Path | None,
    started: float,
    stack: Stack,
) -> None:
    """Deploy a version of a problem, the champion unless one is named, or what was there before.

    Raises:
        UserError: for what the user can mend; what answered before then still does.
    """
    asked = Deploying(stack=stack.name, target=target, image=image)
    if going_back:
        version, asked = _before(problem, asked)
    finished = launch(
        deployment,
        OPTIONS,
        stack,
        True,
        experiment_name(problem),
        problem=problem,
        model=version or CHAMPION,
        asked=asked,
    )
    found: Deployment = finished.steps["deploy"].outputs["deployment"][0].load()
    outcome = DeploymentSummary(
        **{**found.model_dump(), "seconds": time.perf_counter() - started},
        run_name=finished.name,
        mlflow_run=finished.steps["record"].outputs["mlflow_run"][0].load(),
    )
    if summary is not None:
        write_summary(outcome, summary)
    print_summary(outcome)
    if outcome.outcome in ("refused", "rolled_back"):
        still = f"version {outcome.before} still answers" if outcome.before else "nothing answers there"
        raise UserError(f"Version {outcome.version} was {SAID[outcome.outcome]}, and {still}: {outcome.why}")


def stop(problem: str, target: str, settings: TargetSettings) -> None:
    """End what was deployed to a target of this machine. The next deployment is as the first one there.

    Raises:
        UserError: the target is elsewhere, or a deployment is under way.
    """
    if not isinstance(settings, BlueGreenSettings):
        raise UserError(
            f"--stop: '{target}' is not on this machine; end what runs there by kubectl or terraform."
        )
    made, name = settings.make(problem), Path(target).stem
    with alone_on(name, problem):
        serving = made.serving()
        made.stop()
    answered = f"version {serving.version}, which answered, has ended" if serving else "nothing answered"
    open_console().print(f"{problem} on {name}: {answered}; {made.url} is free.")


def _before(problem: str, asked: Deploying) -> tuple[str, Deploying]:
    """The version that a target had before what it has now, and how to deploy that.

    Raises:
        UserError: no such deployment is known.
    """
    serving = asked.settings.make(problem).serving()
    deployments = Deployments(Registry(problem, tracking_uri()))
    found = deployments.before(asked.target_name, serving and serving.version)
    if found is None:
        name = asked.target_name
        raise UserError(f"Nothing to go back to: no other version of '{problem}' was deployed to '{name}'.")
    return found.version, asked.model_copy(update={"image": found.image, "going_back": True})


def print_summary(summary: DeploymentSummary) -> None:
    """Print the closing table."""
    from rich.text import Text

    facts = make_facts(f"{summary.problem} on {summary.target}: {SAID[summary.outcome]}")
    before = f"version {summary.before}" if summary.before else "nothing"
    deployed = summary.outcome in ("deployed", "unchanged")
    facts.add_row("answers", f"version {summary.version}, before {before}" if deployed else before)
    facts.add_row("why", Text(summary.why))
    facts.add_row("url", summary.url)
    facts.add_row("bundle", f"{summary.digest}, verified")
    if summary.image:
        facts.add_row("image", Text(summary.image))
    if summary.probes:
        facts.add_row("self-test", f"{summary.probes} requests under traffic, {summary.failed_probes} failed")
    facts.add_row("code", f"{summary.commit}; trained by {summary.model_commit}")
    facts.add_row("data", f"{summary.data_digest[:12]}, training run {summary.run_id}")
    facts.add_row("by", Text(summary.by))
    facts.add_row("run", f"{summary.run_name}, {summary.seconds:.1f} s")
    open_console().print(facts)
