"""Champion or challenger: the decision, and the aliases and stages that follow from it."""

from typing import Annotated

import pandas as pd
from zenml import step
from zenml.types import HTMLString

from millrace.bundle import load_bundle
from millrace.contract import Problem, Strict
from millrace.metrics import PRIMARY
from millrace.pages import render
from millrace.promotion import Rule, Verdict, against_baseline, against_champion
from millrace.registry import CHAMPION, Registration, Registry
from millrace.settings import TrainingSettings
from steps.locks import registry_lock
from steps.model_control_plane import agree_with_registry
from steps.register import tracking_uri
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
    """Compare the challenger with the champion on the same holdout rows, and promote it if it wins.

    The lock makes two trainings take turns: the second is judged against what the first has left.
    """
    registry = Registry(problem.name, tracking_uri())
    rule = Rule(settings.bootstrap, settings.confidence, settings.seed)
    with registry_lock(problem.name):
        champion = registry.with_alias(CHAMPION)
        if champion is None:
            verdict = against_baseline(problem, from_table(holdout_scores, problem), rule)
        elif champion.version == registration.version:
            verdict = Verdict(
                promote=False, reason="it is the champion already", metric=PRIMARY[problem.task]
            )
        else:
            rival = load_bundle(registry.fetch_bundle(champion.version))
            scores = from_table(holdout_scores, problem)
            verdict = against_champion(problem, scores, holdout_rows, rival, champion.version, rule)
        if verdict.promote:
            registry.promote(registration.version)
        agree_with_registry(registry)
        promotion = Promotion(
            verdict=verdict,
            champion_before=champion.version if champion else None,
            champion=registry.with_alias(CHAMPION),
        )
    page = render(
        "promotion", title="Promotion", problem=problem, verdict=verdict, version=registration.version
    )
    return promotion, HTMLString(page)
