"""Promote, stop or go on: the rule, and what it was applied to."""

import math
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from millrace.contract import Task
from millrace.experiments.arms import Arm, Arms, Counted, ratio
from millrace.experiments.guardrails import Guardrail, check_guardrails
from millrace.experiments.planning import Plan
from millrace.experiments.sequence import deviations, p_value
from millrace.metrics import from_mean_loss
from millrace.strict import Strict

Status = Literal["promote", "stop", "go on", "void"]
Finding = Literal["better", "worse", "no such effect", "not found", "open", "not enough data"]
# No challenger is promoted before this share of the planned size: of skewed losses a few are, by chance, low
# and close together at once, and look surer than they are.
RIPE = 0.2
# Where losses spread more than the reference's, as many times the planned units are waited for.
LONGEST = 3.0


class Side(Strict):
    """One of the two; `metric` is the primary one, of the rows with outcomes."""

    version: str
    rows: int
    units: int
    requests: int
    labelled_rows: int
    labelled_units: int
    loss: float | None
    metric: float | None


class Difference(Strict):
    """Of the mean losses, challenger less champion: below 0 the challenger is better.

    `low` and `high` hold the truth at all looks at once, but for the plan's `alpha`.
    """

    value: float
    low: float
    high: float
    p_value: float


class Verdict(Strict):
    """A look at an experiment.

    `progress` is the share of the planned units that is there, `remaining` how many more it may take.
    """

    status: Status
    finding: Finding
    reasons: tuple[str, ...]
    problem: str
    time: datetime
    champion: Side
    challenger: Side
    difference: Difference | None
    progress: float
    remaining: int
    guardrails: tuple[Guardrail, ...]
    counted: Counted


def rule(low: Any, high: Any, effect: Any, enough: Any, ripe: Any, whole: Any) -> NDArray[np.str_]:
    """What the interval of a difference says, for any number of experiments at once.

    `enough` there are keys with outcomes, `ripe` is what may be promoted, `whole` what has the planned size.
    """
    return np.select(
        [
            np.logical_not(enough),
            np.greater(low, 0),
            np.less(high, 0) & ripe,
            np.greater(low, -effect),
            whole,
        ],
        ["not enough data", "worse", "better", "no such effect", "not found"],
        "open",
    )


def is_whole(units: Any, variance: Any, plan_units: Any, plan_variance: Any) -> Any:
    """Whether an experiment has its planned size: its units, and the sureness that these were to give.

    Losses may spread more than the reference's; then it goes on, but not for ever. `variance` is that of the
    difference, `plan_variance` what it was to be in the end.
    """
    sure = np.less_equal(variance, plan_variance)
    return np.greater_equal(units, plan_units) & (sure | np.greater_equal(units, LONGEST * plan_units))


def judge(arms: Arms, plan: Plan, task: Task) -> Verdict:
    """The verdict on what was read."""
    settings = plan.settings
    sides = _sides(arms, plan, task)
    champion, challenger = (ratio(arm.loss, arm.labelled) for arm in (arms.champion, arms.challenger))
    units = arms.champion.labelled_units + arms.challenger.labelled_units
    variance = champion.variance + challenger.variance
    progress = units / plan.units
    difference = None
    low, high = -np.inf, np.inf
    if np.isfinite(variance):
        value = challenger.value - champion.value
        half = float(deviations(progress, settings.alpha)) * variance**0.5
        low, high = value - half, value + half
        difference = Difference(
            value=value, low=low, high=high, p_value=p_value(value, variance, progress, settings.alpha)
        )
    fewest = min(arms.champion.labelled_units, arms.challenger.labelled_units)
    finding: Any = str(
        rule(
            low,
            high,
            plan.effect,
            fewest >= settings.min_rows,
            progress >= RIPE,
            is_whole(units, variance, plan.units, plan.variance),
        )
    )
    guardrails = check_guardrails(arms, plan)
    status, reasons = _conclude(finding, guardrails, plan, fewest)
    return Verdict(
        status=status,
        finding=finding,
        reasons=reasons,
        problem=plan.problem,
        time=arms.counted.until,
        champion=sides[0],
        challenger=sides[1],
        difference=difference,
        progress=progress,
        remaining=_remaining(finding, units, variance, plan),
        guardrails=guardrails,
        counted=arms.counted,
    )


def void(verdict: Verdict, champion: str) -> Verdict:
    """The same once another version is champion: the experiment is of a model that is no more in question."""
    why = (
        f"Version {champion} is champion, and the experiment is of version {verdict.champion.version}: it is "
        "void. Plan another one."
    )
    return verdict.model_copy(update={"status": "void", "reasons": (why,)})


def _conclude(
    finding: Finding, guardrails: tuple[Guardrail, ...], plan: Plan, fewest: int
) -> tuple[Status, tuple[str, ...]]:
    broken = tuple(f"{each.name}: {each.why}" for each in guardrails if each.state == "broken")
    if broken:
        return "stop", broken
    share = f"{plan.settings.effect:.3g}"
    said: dict[Finding, tuple[Status, str]] = {
        "better": ("promote", "The challenger's loss is lower, beyond chance."),
        "worse": ("stop", "The challenger's loss is higher, beyond chance."),
        "no such effect": (
            "stop",
            f"Whatever the difference is, it is smaller than the {share} of the {plan.metric_name} that was "
            "worth finding.",
        ),
        "not found": ("stop", "The planned size is reached, and no difference was found."),
        "open": ("go on", "Both answers are still possible."),
        "not enough data": (
            "go on",
            f"One of the two has {fewest:,} keys with outcomes; a verdict takes {plan.settings.min_rows:,}.",
        ),
    }
    status, why = said[finding]
    return status, (why,)


def _remaining(finding: Finding, units: int, variance: float, plan: Plan) -> int:
    """How many more units with outcomes it takes at most, as losses spread so far."""
    if finding in ("better", "worse", "no such effect", "not found"):
        return 0
    times = variance * units / plan.spread if np.isfinite(variance) else 1.0
    return max(math.ceil(min(max(times, 1.0), LONGEST) * plan.units) - units, 1)


def _sides(arms: Arms, plan: Plan, task: Task) -> tuple[Side, Side]:
    champion = _side(arms.champion, plan.champion.version, task)
    return champion, _side(arms.challenger, plan.challenger.version, task)


def _side(arm: Arm, version: str, task: Task) -> Side:
    labelled = arm.labelled.sum()
    loss = float(arm.loss.sum() / labelled) if labelled else None
    return Side(
        version=version,
        rows=int(arm.rows.sum()),
        units=arm.units,
        requests=len(arm.latencies),
        labelled_rows=int(labelled),
        labelled_units=arm.labelled_units,
        loss=loss,
        metric=None if loss is None else float(from_mean_loss(np.array(loss), task)),
    )
