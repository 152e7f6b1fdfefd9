"""An experiment between champion and challenger: its plan, a look at it, and what is decided."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from zenml import get_step_context, log_metadata, step
from zenml.types import HTMLString

from millrace.bundle import Bundle
from millrace.errors import UserError
from millrace.experiments import (
    Contender,
    ExperimentSettings,
    Plan,
    Record,
    Verdict,
    judge,
    make_plan,
    read_arms,
    read_traffic,
    void,
)
from millrace.experiments.record import End, Look
from millrace.lineup import contract_differs
from millrace.moments import begin
from millrace.registry import CHALLENGER, CHAMPION, Registration, Registry
from millrace.strict import Strict
from millrace.succession import verified_contract
from stacks.environment import home
from stacks.tracking import tracking_uri
from steps.locks import registry_lock
from steps.materializers import Plots, PlotsMaterializer
from steps.model_control_plane import agree_with_registry
from steps.score import load_chosen, log_uri
from steps.serve import build_version, store_version


class Planning(Strict):
    """What is to be planned; `challenger` is a version, None for the one with the alias."""

    problem: str
    stack: str
    started: datetime
    challenger: str | None
    settings: ExperimentSettings


class Settlement(Strict):
    """What has come of a decision: who is champion now, and whether its Bento is to be built."""

    status: Literal["promote", "stop", "void"]
    reasons: tuple[str, ...]
    champion: Registration
    promoted: bool


# None of the steps is ever cached: their input is also the log, the record and the registry at this moment.
@step(enable_cache=False)
def plan_experiment(asked: Planning) -> Annotated[Plan, "plan"]:
    """Plan an experiment, see that both models can be served, and write the plan down.

    Raises:
        UserError: there are no two versions, or they do not take the same requests; or one is running.
    """
    registry = Registry(asked.problem, tracking_uri())
    champion, challenger = _contenders(registry, asked.challenger)
    bundle, other = load_chosen(champion), load_chosen(challenger)
    if contract_differs(bundle.problem, other.problem):
        raise UserError(
            f"Version {challenger.version} has another contract than the champion, version "
            f"{champion.version}: no request can go to both."
        )
    settings = asked.settings
    since = begin(settings.traffic, asked.started)
    traffic = read_traffic(log_uri(settings.log, asked.problem), bundle.problem, since, asked.started)
    sides = [
        Contender(version=each.version, digest=each.digest, tag=store_version(each))
        for each in (champion, challenger)
    ]
    # What `make serve` starts.
    build_version(champion)
    plan = make_plan((bundle, other), sides, settings, traffic, stack=asked.stack, started=asked.started)
    with registry_lock(asked.problem):
        Record.begin(experiments_folder(asked.stack, asked.problem), plan)
    log_metadata(
        {"champion": champion.version, "challenger": challenger.version, "units": plan.units},
        artifact_name="plan",
        infer_artifact=True,
    )
    return plan


@step(enable_cache=False, output_materializers={"experiment_plots": PlotsMaterializer})
def look(
    folder: str, until: datetime
) -> tuple[
    Annotated[Verdict, "verdict"],
    Annotated[Plots, "experiment_plots"],
    Annotated[HTMLString, "experiment_page"],
]:
    """Read the log, judge, and keep the look in the record."""
    from millrace.experiments.page import verdict_page
    from millrace.experiments.plots import looks_plot

    record = Record(Path(folder))
    plan = record.plan
    registry = Registry(plan.problem, tracking_uri())
    bundle = _bundle(registry, plan)
    arms = read_arms(log_uri(plan.settings.log, plan.problem), bundle.problem, plan, until)
    verdict = judge(arms, plan, bundle.problem.task)
    champion = registry.with_alias(CHAMPION)
    if champion is None or champion.digest != plan.champion.digest:
        verdict = void(verdict, champion.version if champion else "none")
    record.add(Look.of(verdict, get_step_context().pipeline_run.name))
    log_metadata(
        {
            "verdict": verdict.status,
            "finding": verdict.finding,
            "champion": plan.champion.version,
            "challenger": plan.challenger.version,
            "progress": verdict.progress,
        },
        artifact_name="verdict",
        infer_artifact=True,
    )
    looks = record.looks()
    page = verdict_page(verdict, plan, looks, bundle.problem)
    return verdict, Plots(intervals=looks_plot(looks, plan)), HTMLString(page)


@step(enable_cache=False)
def settle(folder: str) -> Annotated[Settlement, "settlement"]:
    """Do what was decided, once, and only if the champion is still the one that the experiment is of.

    Raises:
        UserError: the challenger's bundle is not whole; the champion stays.
    """
    record = Record(Path(folder))
    plan, decision = record.plan, record.decision
    assert decision is not None, "settling follows a decision"
    registry = Registry(plan.problem, tracking_uri())
    status, reasons, promoted = decision.status, decision.reasons, False
    with registry_lock(plan.problem) as confirm:
        champion = registry.with_alias(CHAMPION)
        if record.end is None and status == "promote":
            if champion is not None and champion.digest == plan.champion.digest:
                challenger = _challenger(registry, plan)
                verified_contract(registry, challenger)
                confirm()
                registry.promote(challenger.version)
            elif not _was_promoted(registry, plan):
                there = champion.version if champion else "none"
                status, reasons = "void", (f"Version {there} has become champion meanwhile.",)
        agree_with_registry(registry)
        champion = registry.with_alias(CHAMPION)
    if champion is None:
        raise UserError(f"'{plan.problem}' has no champion; promote a version.")
    promoted = status == "promote" and champion.digest == plan.challenger.digest
    return Settlement(status=status, reasons=reasons, champion=champion, promoted=promoted)


@step(enable_cache=False)
def close_experiment(folder: str, settlement: Settlement) -> Annotated[End, "end"]:
    """Build the new champion's Bento, if there is one, and write down that all is done."""
    bento = build_version(settlement.champion) if settlement.promoted else ""
    end = End(
        status=settlement.status,
        reasons=settlement.reasons,
        champion=settlement.champion.version,
        bento=bento,
        time=datetime.now(UTC),
    )
    return Record(Path(folder)).close(end)


def experiments_folder(stack: str, problem: str) -> Path:
    """Where the experiments of a problem on a stack are kept on this machine."""
    return home() / "experiments" / stack / problem


def _contenders(registry: Registry, version: str | None) -> tuple[Registration, Registration]:
    champion = registry.with_alias(CHAMPION)
    if champion is None:
        raise UserError(
            f"There is no champion of '{registry.name}' on this stack; train one: "
            f"python run.py --pipeline training --problem {registry.name}"
        )
    others = ", ".join(each.version for each in registry.versions() if each.version != champion.version)
    if version == champion.version:
        raise UserError(f"--challenger {version}: that is the champion. Others: {others or 'none'}.")
    found = registry.get(version) if version else registry.with_alias(CHALLENGER)
    if found is None:
        what = f"version {version}" if version else "challenger"
        raise UserError(f"'{registry.name}' has no {what}; name one by --challenger: {others or 'none'}.")
    return champion, found


def _bundle(registry: Registry, plan: Plan) -> Bundle:
    """The bundle of the champion of the plan, whose contract the log is read by."""
    found = registry.find(plan.champion.digest)
    if found is None:
        raise UserError(f"Version {plan.champion.version} of '{plan.problem}' is no more in the registry.")
    return load_chosen(found)


def _challenger(registry: Registry, plan: Plan) -> Registration:
    found = registry.find(plan.challenger.digest)
    if found is None:
        raise UserError(f"Version {plan.challenger.version} of '{plan.problem}' is no more in the registry.")
    return found


def _was_promoted(registry: Registry, plan: Plan) -> bool:
    """Whether the challenger has followed the champion of the plan: before a crash, that is."""
    champions = registry.champions()
    if plan.champion.version not in champions:
        return champions[-1:] == [plan.challenger.version]
    last = len(champions) - champions[::-1].index(plan.champion.version)
    return plan.challenger.version in champions[last:]
