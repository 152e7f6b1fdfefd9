"""Whether a trigger makes a run: not twice for a cause, not too soon after another one, not too often."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple

from pydantic import Field

from millrace.moments import period
from millrace.retraining.settings import RetrainingSettings
from millrace.strict import Strict

Kind = Literal["drift", "decay", "data", "calendar", "person"]
LONGEST_REASON, LONGEST_CAUSE = 1000, 200
# What only recent rows can mend.
OF_THE_WINDOW: tuple[Kind, ...] = ("drift", "decay")


class Trigger(Strict):
    """Who or what asks for a retraining, and why.

    `cause` names what has happened, whoever tells of it and however often: the fingerprint and the start of
    an alert. `asked` is the moment until which rows are taken.
    """

    kind: Kind
    reason: str = Field(min_length=1, max_length=LONGEST_REASON)
    cause: str | None = Field(None, min_length=1, max_length=LONGEST_CAUSE)
    asked: datetime


class Attempt(NamedTuple):
    """An earlier run of the pipeline for the same problem; `status` is ZenML's."""

    name: str
    trigger: Trigger
    started: datetime
    ended: datetime | None
    status: str


def admit(trigger: Trigger, past: Sequence[Attempt], settings: RetrainingSettings) -> str | None:
    """Why there is to be no run, in a sentence; None if there is to be one.

    A person who asks is only told that a cause has been dealt with: cool-down and budget are for what asks
    by itself.
    """
    done = [attempt for attempt in past if attempt.status == "completed"]
    if trigger.cause is not None:
        for attempt in done:
            if attempt.trigger.cause == trigger.cause:
                return f"The cause {trigger.cause} has been dealt with, by {attempt.name}."
    if trigger.kind == "person":
        return None
    ends = [attempt.ended for attempt in done if attempt.ended is not None]
    over = max(ends) + period(settings.cool_down) if ends else trigger.asked
    if trigger.asked < over:
        return (
            f"Cooling down until {over:%Y-%m-%d %H:%M} UTC: the last retraining ended less than "
            f"{settings.cool_down} ago. A person may ask before: --trigger person."
        )
    budget = settings.budget
    # All attempts for a cause are one retraining, and that for this one has been let begin.
    spent = {
        attempt.trigger.cause or attempt.name
        for attempt in past
        if attempt.started > trigger.asked - budget.time
    } - {trigger.cause}
    if len(spent) >= budget.runs:
        return (
            f"The budget is spent: {len(spent)} retrainings within {budget.within}, {budget.runs} are "
            "allowed (budget.runs). Look why they do not help; a person may ask before: --trigger person."
        )
    return None


def resumed(trigger: Trigger, past: Sequence[Attempt]) -> Trigger:
    """The same trigger, with the rows of the last attempt for its cause if that came to no end.

    What that has finished is then found again.
    """
    alike = [each for each in past if trigger.cause is not None and each.trigger.cause == trigger.cause]
    if not alike:
        return trigger
    last = max(alike, key=lambda attempt: attempt.started)
    return trigger.model_copy(update={"asked": last.trigger.asked})
