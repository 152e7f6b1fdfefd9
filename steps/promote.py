"""Champion or challenger: the decision, and the aliases and stages that follow from it."""

from typing import Annotated

import pandas as pd
from zenml import step
from zenml.types import HTMLString

from millrace.bundle import load_bundle
from millrace.contract import Problem
from millrace.footprint import measure
from millrace.metrics import PRIMARY
from millrace.pages import render
from millrace.promotion import (
    Rule,
    Verdict,
    against_baseline,
    against_champion,
    weigh,
    within_limits,
)
from millrace.registry import CHAMPION, Registration, Registry
from millrace.settings import TrainingSettings
from millrace.strict import Strict
from stacks.environment import home
from stacks.tracking import tracking_uri
from steps.locks import registry_lock
from steps.model_control_plane import agree_with_registry
from steps.scores import from_table


class Promotion(Strict):
    """What was decided, and who was champion before and after."""

    verdict: Verdict
    champion_before: str | None
    champion: Registration | None


# Never cached: who is champion is not an input, it is the state of the registry at this moment.
@step(enable_cache=False)
def promote(
    registration: Registration,
    holdout_rows: pd.DataFrame,
    holdout_scores: pd.DataFrame,
    problem: Problem,
    settings: TrainingSettings,
) -> tuple[Annotated[Promotion, "promotion"], Annotated[HTMLString, "promotion_page"]]:
    """Compare the challenger with the champion, and promote it if it wins.

    The lock makes two trainings take turns: the second is judged against what the first has left.
    """
    registry = Registry(problem.name, tracking_uri())
    limits = settings.promotion
    rule = Rule(settings.bootstrap, settings.confidence, settings.seed)
    with registry_lock(problem.name) as confirm:
        champion = registry.with_alias(CHAMPION)
        if champion is not None and champion.version == registration.version:
            verdict = Verdict(
                promote=False, reason="it is the champion already", metric=PRIMARY[problem.task]
            )
        else:
            scores = from_table(holdout_scores, problem)
            bundles = [
                load_bundle(registry.fetch_bundle(each.version, home() / "cache"))
                for each in (registration, champion)
                if each
            ]
            if champion is None:
                verdict = against_baseline(problem, scores, rule)
            else:
                verdict = against_champion(
                    problem, scores, holdout_rows, bundles[1], champion.version, rule, limits.worst_slice
                )
            if verdict.criteria:
                verdict = weigh(verdict, within_limits(limits, *measure(bundles, holdout_rows)))
        if verdict.promote:
            confirm()
            registry.promote(registration.version)
        agree_with_registry(registry)
        promotion = Promotion(
            verdict=verdict,
            champion_before=champion.version if champion else None,
            champion=registry.with_alias(CHAMPION),
        )
    page = render(
        "promotion",
        title="Promotion",
        problem=problem,
        verdict=verdict,
        version=registration.version,
        rival=f"Champion, version {champion.version}" if champion else "Baseline",
    )
    return promotion, HTMLString(page)
