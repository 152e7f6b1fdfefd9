"""From one release to the next: a candidate is tried, gets the traffic, is watched, and goes if it fails.

Whatever goes wrong, the release before answers afterwards.
"""

import time
from collections.abc import Callable
from typing import Literal

from millrace.errors import UserError
from millrace.strict import Strict
from targets.smoke import Smoke
from targets.target import Release, Target, Traffic

PAUSE = 1.0
# Fewer say nothing of a share, until the watch is over.
ENOUGH = 20
Result = Literal["deployed", "refused", "rolled_back"]


class Outcome(Strict):
    """What came of a release: it has the traffic; never had it; or had it and lost it again.

    `requests` of callers were answered by it while it was watched, `failed` of them by a 5xx; of `probes` of
    our own, `failed_probes` were answered wrongly or not at all.
    """

    result: Result
    why: str
    before: Release | None
    requests: int = 0
    failed: int = 0
    probes: int = 0
    failed_probes: int = 0


class Watch(Strict):
    """How long a release is watched under traffic, and which share of the requests may fail meanwhile."""

    seconds: float
    max_failed: float


def roll_out(
    target: Target, release: Release, smoke: Smoke, watch: Watch, say: Callable[[str], None]
) -> Outcome:
    """Let a release take over on a target, or leave the target as it was; `say` is told how far it is.

    Raises:
        UserError: the target cannot be asked at all, or there is nothing to go back to.
    """
    before = target.serving()
    say("starting the candidate beside " + (f"version {before.version}" if before else "nothing"))
    try:
        url = target.start(release)
        say(f"asking the candidate for {smoke.rows} self-test rows")
        smoke.check(url)
    except UserError as error:
        target.discard()
        return Outcome(result="refused", why=str(error), before=before)
    except BaseException:
        # Stopped by the user, or by a fault of ours: nothing stays behind.
        target.discard()
        raise
    say("switching the traffic")
    try:
        target.switch()
        outcome = _watch(target, smoke, watch, before, say)
    except BaseException:
        _take_back(target)
        raise
    if outcome.result == "deployed":
        if before:
            say(f"ending version {before.version}")
        target.retire()
        return outcome
    say(f"rolling back: {outcome.why}")
    _take_back(target)
    return outcome


def _take_back(target: Target) -> None:
    target.switch_back()
    target.discard()


def _watch(
    target: Target, smoke: Smoke, watch: Watch, before: Release | None, say: Callable[[str], None]
) -> Outcome:
    """Look at the traffic, and ask for self-test rows, until time is over or too much has failed."""
    say(f"watching it for {watch.seconds:g} s")
    end = time.monotonic() + watch.seconds
    probes = failed_probes = 0
    while True:
        over = time.monotonic() >= end
        probes += 1
        failed_probes += not smoke.ask(target.url)
        traffic = target.traffic()
        found = Outcome(
            result="deployed",
            why=f"{traffic.requests:,.0f} requests in {watch.seconds:g} s, {traffic.failed:,.0f} failed",
            before=before,
            requests=round(traffic.requests),
            failed=round(traffic.failed),
            probes=probes,
            failed_probes=failed_probes,
        )
        for what, counted in (("requests", traffic), ("self-test requests", Traffic(probes, failed_probes))):
            if _too_many(counted, watch.max_failed, over):
                why = (
                    f"{counted.failed:,.0f} of {counted.requests:,.0f} {what} failed; "
                    f"{watch.max_failed:.2%} may"
                )
                return found.model_copy(update={"result": "rolled_back", "why": why})
        if over:
            return found
        time.sleep(PAUSE)


def _too_many(counted: Traffic, allowed: float, over: bool) -> bool:
    """Whether a share has failed that may not: of enough requests, or of all that there were."""
    if not counted.failed or not (over or counted.requests >= ENOUGH):
        return False
    return counted.failed / max(counted.requests, counted.failed) > allowed
