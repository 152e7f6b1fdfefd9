"""What a better loss does not make up for: a challenger that is slow, fails, or is not asked as planned."""

import math
from typing import Literal

import numpy as np
from scipy.special import betaln

from millrace.experiments.arms import Arms, Mean, ratio
from millrace.experiments.planning import Plan
from millrace.experiments.sequence import deviations
from millrace.metrics import Floats
from millrace.strict import Strict

State = Literal["kept", "broken", "not enough data"]
# Shares that are so unlikely are none of chance; usual for a test that only a fault should trip.
MISMATCH = 1e-3
# So unlikely is it that none of the units that asked since was the challenger's.
SILENCE = 1e-6
# The level of the slow requests.
SLOW = 0.99


class Guardrail(Strict):
    """One of them: what was measured of either, and why it is broken or kept.

    `low` and `high` are the interval of the challenger's, where there is one.
    """

    name: str
    state: State
    champion: float | None = None
    challenger: float | None = None
    low: float | None = None
    high: float | None = None
    why: str


def check_guardrails(arms: Arms, plan: Plan) -> tuple[Guardrail, ...]:
    """All of them."""
    return (
        _asked(arms, plan),
        _shares("keys as planned", arms.champion.units, arms.challenger.units, plan.settings.share),
        _shares(
            "keys with outcomes as planned",
            arms.champion.labelled_units,
            arms.challenger.labelled_units,
            plan.settings.share,
        ),
        _answers(arms, plan),
        _mean_latency(arms, plan),
        _slow_latency(arms, plan),
    )


def mismatch(champion: int, challenger: int, share: float) -> float:
    """The always-valid p-value of the share being as planned, after so many units.

    Lindon and Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022: the planned share
    beside all others, equally likely. A chi-squared test would be wrong ever more often as one looks again.
    """
    null = challenger * math.log(share) + champion * math.log1p(-share)
    evidence = float(betaln(challenger + 1, champion + 1)) - null
    return math.exp(-max(evidence, 0.0))


def _asked(arms: Arms, plan: Plan) -> Guardrail:
    """Whether the challenger still answers: one that fails is switched off by the service."""
    name, after = "the challenger answers", arms.counted.after
    if not arms.challenger.units:
        return Guardrail(name=name, state="not enough data", why="It has not answered yet.")
    silent = after * math.log1p(-plan.settings.share) < math.log(SILENCE)
    return Guardrail(
        name=name,
        state="broken" if silent else "kept",
        champion=float(after),
        why=f"The champion has answered {after:,} keys since the challenger's last: it was switched off or "
        "serves no more; the service's log says why."
        if silent
        else "It has answered of late.",
    )


def _shares(name: str, champion: int, challenger: int, share: float) -> Guardrail:
    total = champion + challenger
    if not total:
        return Guardrail(name=name, state="not enough data", why="There are none.")
    chance = mismatch(champion, challenger, share)
    broken = chance < MISMATCH
    return Guardrail(
        name=name,
        state="broken" if broken else "kept",
        champion=champion / total,
        challenger=challenger / total,
        why=f"The challenger has {challenger:,} of {total:,}, and {share:.3g} was planned (p = {chance:.2g})"
        + (": the two do not have the same kind of keys, and cannot be compared." if broken else "."),
    )


def _answers(arms: Arms, plan: Plan) -> Guardrail:
    found = [ratio(arm.unanswered, arm.rows) for arm in (arms.champion, arms.challenger)]
    return _worse("rows without an answer", found, 1.0, plan.settings.unanswered, arms, plan, "{:.2%}")


def _mean_latency(arms: Arms, plan: Plan) -> Guardrail:
    found = [ratio(1e3 * arm.seconds, arm.requests) for arm in (arms.champion, arms.challenger)]
    return _worse("mean latency", found, plan.settings.slower, 0.0, arms, plan, "{:.3g} ms")


def _worse(
    name: str, found: list[Mean], times: float, more: float, arms: Arms, plan: Plan, shown: str
) -> Guardrail:
    """Whether the challenger's mean is above `times` the champion's and `more`, beyond chance."""
    champion, challenger = found
    if few := _few(arms, plan):
        return Guardrail(name=name, state="not enough data", why=few)
    errors = float(deviations(_progress(arms, plan), plan.settings.alpha))
    own = errors * math.sqrt(challenger.variance)
    allowed = times * champion.value + more
    excess = challenger.value - allowed
    broken = excess > errors * math.sqrt(challenger.variance + times**2 * champion.variance)
    return Guardrail(
        name=name,
        state="broken" if broken else "kept",
        champion=champion.value,
        challenger=challenger.value,
        low=max(challenger.value - own, 0.0),
        high=challenger.value + own,
        why=f"{shown.format(challenger.value)}, the champion {shown.format(champion.value)}; up to "
        f"{shown.format(allowed)} is allowed.",
    )


def _slow_latency(arms: Arms, plan: Plan) -> Guardrail:
    """p99 by order statistics: between the ranks that an interval of the share below it leaves.

    Howard and Ramdas, "Sequential estimation of quantiles", Bernoulli 28, 2022, with the sequence used here.
    """
    name = "p99 latency"
    if few := _few(arms, plan):
        return Guardrail(name=name, state="not enough data", why=few)
    errors = float(deviations(_progress(arms, plan), plan.settings.alpha))
    (_, champion, most), (low, challenger, high) = (
        _quantile(1e3 * arm.latencies, errors) for arm in (arms.champion, arms.challenger)
    )
    allowed = plan.settings.slower * most
    broken = low > allowed
    return Guardrail(
        name=name,
        state="broken" if broken else "kept",
        champion=champion,
        challenger=challenger,
        low=low,
        high=high,
        why=f"{challenger:.3g} ms (at least {low:.3g}), the champion {champion:.3g} ms (at most {most:.3g}); "
        f"up to {plan.settings.slower:g} times as much is allowed.",
    )


def _quantile(rising: Floats, errors: float) -> tuple[float, float, float]:
    """The quantile at `SLOW`, and its ends; the largest value stands for whatever is beyond."""
    requests = len(rising)
    width = errors * math.sqrt(SLOW * (1 - SLOW) / requests)
    shares = np.clip([SLOW - width, SLOW, SLOW + width], 0, 1)
    low, value, high = rising[np.minimum((shares * requests).astype(int), requests - 1)]
    return float(low), float(value), float(high)


def _progress(arms: Arms, plan: Plan) -> float:
    return (arms.champion.units + arms.challenger.units) / plan.units


def _few(arms: Arms, plan: Plan) -> str:
    fewest = min(arms.champion.units, arms.challenger.units)
    if fewest >= plan.settings.min_rows:
        return ""
    return f"One of the two has answered {fewest:,} keys; a verdict takes {plan.settings.min_rows:,}."
