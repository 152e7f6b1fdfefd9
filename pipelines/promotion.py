"""Promotion: a model version of one stack becomes champion on another; and the way back."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from zenml import pipeline
from zenml.artifacts.utils import save_artifact
from zenml.client import Client
from zenml.enums import ExecutionMode
from zenml.exceptions import EntityExistsError
from zenml.models import PipelineRunResponse

from millrace.bundle import load_bundle
from millrace.registry import Registry
from millrace.succession import next_roll_back
from pipelines.closing import write_summary
from pipelines.launch import launch
from pipelines.promotion_summary import PromotionSummary, print_summary
from stacks.source import Fetched
from stacks.stack_files import Stack
from stacks.tracking import tracking_uri
from steps.materializers import BundleMaterializer
from steps.serve import build_appointed_bento
from steps.transfer import Adoption, Appointment, Origin, adopt, appoint, roll_back

# As configs/training.yaml has them. There is nothing else to configure.
OPTIONS = {"enable_step_logs": False, "enable_heartbeat": False}
# The artifact by which a bundle comes to a stack; its version is the bundle's digest.
ARRIVAL = "promoted_bundle"


@pipeline(execution_mode=ExecutionMode.FAIL_FAST)
def promotion(origin: Origin, serve: bool) -> None:
    """Take the bundle that has arrived into the registry and make it champion."""
    adoption = adopt(Client().get_artifact_version(ARRIVAL, origin.digest), origin)
    appointment = appoint(adoption, origin)
    if serve:
        build_appointed_bento(appointment)


@pipeline(execution_mode=ExecutionMode.FAIL_FAST)
def rolling_back(name: str, serve: bool) -> None:
    """Make the champion before the present one champion again."""
    appointment = roll_back(name)
    if serve:
        build_appointed_bento(appointment)


def run(
    name: str,
    *,
    fetched: Fetched | None,
    summary: Path | None,
    started: float,
    stack: Stack,
) -> None:
    """Promote what was fetched from another stack, or roll back if nothing was, and say what came of it.

    A stack without a server is served by this machine, so its champion's Bento is built at once.

    Raises:
        UserError: for what the user can mend; the champion then stays.
    """
    serve = stack.server is None
    if fetched is None:
        # Refused here, it leaves no failed run.
        next_roll_back(Registry(name, tracking_uri()))
        options: dict[str, Any] = {"name": name}
        chosen = rolling_back
    else:
        origin = Origin.model_validate(fetched.model_dump(include={"stack", "version", "run_id", "digest"}))
        _bring(fetched)
        options = {"origin": origin}
        chosen = promotion
    finished = launch(chosen, OPTIONS, stack, True, f"promotion_{name}", serve=serve, **options)
    outcome = _summarise(finished, fetched, stack.name, time.perf_counter() - started)
    if summary is not None:
        write_summary(outcome, summary)
    print_summary(outcome, stack)


def _bring(fetched: Fetched) -> None:
    """Put a bundle into the stack's artifact store, unless it has arrived there before.

    Not by a step: where steps run in a cluster, they cannot reach this machine.
    """
    with suppress(KeyError):
        Client().get_artifact_version(ARRIVAL, fetched.digest)
        return
    # Somebody else may be as quick.
    with suppress(EntityExistsError):
        save_artifact(
            load_bundle(fetched.folder),
            ARRIVAL,
            version=fetched.digest,
            materializer=BundleMaterializer,
            user_metadata=fetched.model_dump(include={"stack", "name", "version", "run_id"}),
            tags=[fetched.name],
        )


def _summarise(
    run: PipelineRunResponse, fetched: Fetched | None, stack: str, seconds: float
) -> PromotionSummary:
    steps = run.steps
    if fetched is None:
        added, last = False, "roll_back"
    else:
        adoption: Adoption = steps["adopt"].outputs["adoption"][0].load()
        added, last = adoption.added, "appoint"
    appointment: Appointment = steps[last].outputs["appointment"][0].load()
    built = steps.get("build_appointed_bento")
    return PromotionSummary(
        run_id=str(run.id),
        run_name=run.name,
        problem=appointment.champion.name,
        source=fetched and fetched.stack,
        source_version=fetched and fetched.version,
        target=stack,
        version=appointment.champion.version,
        digest=appointment.champion.digest,
        added=added,
        champion_before=appointment.champion_before,
        contract=appointment.contract,
        bento=built.outputs["bento"][0].load() if built else "",
        seconds=seconds,
    )
