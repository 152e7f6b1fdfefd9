"""What Alertmanager sends, and which retraining each of its alerts asks for. Nothing in it is trusted."""

import re
from collections.abc import Collection
from typing import Annotated, Literal, get_args

import msgspec

from scheduler.orders import Order, alerted
from scheduler.settings import Alerts

Trigger = Literal["drift", "decay", "data", "calendar"]
REASON = 300
ALERTS = 1000
# What no line of text has.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
Moment = Annotated[
    str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$", max_length=40)
]


class Alert(msgspec.Struct, frozen=True, rename="camel"):
    """One alert; what else is sent with it is left aside."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: Moment
    fingerprint: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{1,32}$")]

    @property
    def cause(self) -> str:
        """What this alert, and no other, is known by as often as it is sent."""
        return f"{self.fingerprint}@{self.starts_at}"


class Notification(msgspec.Struct, frozen=True):
    """The body of Alertmanager's webhook."""

    version: Literal["4"]
    alerts: Annotated[list[Alert], msgspec.Meta(max_length=ALERTS)]


class Unwanted(Exception):  # noqa: N818 - it says what is so
    """An alert that asks for nothing that is done here, and why."""


def order_of(alert: Alert, problems: Collection[str], settings: Alerts) -> Order:
    """The retraining that a firing alert asks for.

    Raises:
        Unwanted: its labels name no trigger, or no problem that there is.
    """
    trigger, problem = alert.labels.get("retrain", ""), alert.labels.get("problem", "")
    if trigger not in get_args(Trigger):
        raise Unwanted(f"its label 'retrain' is none of {', '.join(get_args(Trigger))}")
    if problem not in problems:
        raise Unwanted("its label 'problem' is none of configs/problems")
    told = alert.annotations.get("summary") or alert.labels.get("alertname") or f"{trigger} of {problem}"
    reason = CONTROL.sub(" ", told).strip()[:REASON] or f"{trigger} of {problem}"
    return alerted(problem, trigger, settings, alert.cause, reason)
