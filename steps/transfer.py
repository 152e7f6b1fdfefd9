"""A bundle of another stack taken into this one's registry and made champion, and the way back."""

from collections.abc import Mapping
from typing import Annotated

import pandas as pd
from zenml import get_step_context, log_metadata, step
from zenml.client import Client

from millrace.bundle import CARD, CARD_MARKDOWN, METRICS, REFERENCE, Bundle
from millrace.card import head, shown
from millrace.errors import UserError
from millrace.registry import CHAMPION, Registration, Registry
from millrace.strict import Strict
from millrace.succession import Contract, compare_contracts, next_roll_back, verified_contract
from stacks.environment import home
from stacks.tracking import tracking_uri
from steps.locks import registry_lock
from steps.model_control_plane import agree_with_registry, link_version
from steps.model_version import log_model, version_tags


class Origin(Strict):
    """Where a bundle is promoted from; `run_id` is that of the MLflow run that registered it there."""

    stack: str
    version: str
    run_id: str
    digest: str


class Adoption(Strict):
    """The version that holds the bundle, and whether it was added or there already."""

    registration: Registration
    added: bool


class Appointment(Strict):
    """Who was champion before, who is it now, and whether both take the same requests."""

    champion_before: str | None
    champion: Registration
    contract: Contract


# None of the steps is ever cached: their input is also the registry at this moment.
@step(enable_cache=False, experiment_tracker=True)
def adopt(bundle: Bundle, origin: Origin) -> Annotated[Adoption, "adoption"]:
    """Add a version for the bundle to this stack's registry, unless it has one already.

    Raises:
        UserError: it is not the bundle with the digest that it had at its origin.
    """
    import mlflow

    if bundle.digest != origin.digest:
        raise UserError(
            f"The bundle from stack '{origin.stack}' had the digest {origin.digest}, what arrived has "
            f"{bundle.digest}; nothing was registered."
        )
    name = bundle.problem.name
    registry = Registry(name, tracking_uri())
    mlflow.log_params({f"from_{key}": value for key, value in origin.model_dump().items()})
    with registry_lock(name):
        found = registry.find(bundle.digest)
        added = found is None
        if found is None:
            found = _register(registry, bundle, origin)
        context = get_step_context()
        bundle_artifact = context.inputs["bundle"][0].id
        link_version(name, found.version, found.digest, bundle_artifact, context.pipeline_run.id)
    return Adoption(registration=found, added=added)


@step(enable_cache=False)
def appoint(adoption: Adoption, origin: Origin) -> Annotated[Appointment, "appointment"]:
    """Make an adopted version champion, once its bundle is known to be whole where it is now.

    Raises:
        UserError: it is not; the champion stays.
    """
    version = adoption.registration
    registry = Registry(version.name, tracking_uri())
    with registry_lock(version.name) as confirm:
        before = registry.with_alias(CHAMPION)
        contract = verified_contract(registry, version)
        compared = compare_contracts(registry, before, contract, home() / "cache")
        confirm()
        registry.promote(version.version)
        agree_with_registry(registry)
    appointment = Appointment(
        champion_before=before.version if before else None, champion=version, contract=compared
    )
    told = {"from": origin.stack, "from_version": origin.version, "from_digest": origin.digest}
    _tell_run(told, appointment)
    return appointment


@step(enable_cache=False)
def roll_back(name: str) -> Annotated[Appointment, "appointment"]:
    """Make the champion before the present one champion again.

    Raises:
        UserError: none is known, or its bundle is not whole; the champion stays.
    """
    registry = Registry(name, tracking_uri())
    with registry_lock(name) as confirm:
        move, version = next_roll_back(registry)
        contract = verified_contract(registry, version)
        compared = compare_contracts(registry, registry.get(move.left), contract, home() / "cache")
        confirm()
        registry.roll_back(move)
        agree_with_registry(registry)
        registry.end_roll_back()
    appointment = Appointment(champion_before=move.left, champion=version, contract=compared)
    _tell_run({"rolled_back": True}, appointment)
    return appointment


def _register(registry: Registry, bundle: Bundle, origin: Origin) -> Registration:
    import mlflow

    active = mlflow.active_run()
    assert active is not None, "the step's experiment tracker starts a run"
    metrics = bundle.read(METRICS)["evaluation"]["metrics"]
    mlflow.log_metrics({f"holdout_{name}": interval["value"] for name, interval in metrics.items()})
    model_id = log_model(bundle, pd.read_parquet(bundle.folder / REFERENCE))
    mlflow.log_text(shown(bundle.folder, CARD), CARD)
    promoted = {f"promoted_from_{key}": value for key, value in origin.model_dump().items()}
    description = head(shown(bundle.folder, CARD_MARKDOWN))
    return registry.register(model_id, active.info.run_id, {**version_tags(bundle), **promoted}, description)


def _tell_run(about: Mapping[str, str | bool], appointment: Appointment) -> None:
    """What happened, as metadata of the ZenML run."""
    champion = appointment.champion
    log_metadata(
        {
            **about,
            "to": Client().active_stack_model.name,
            "version": champion.version,
            "digest": champion.digest,
            "champion_before": appointment.champion_before or "none",
            "contract": appointment.contract,
        },
        run_id_name_or_prefix=str(get_step_context().pipeline_run.id),
    )
