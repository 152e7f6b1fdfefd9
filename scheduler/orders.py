"""What is asked for: the arguments of a run.py to come, and why."""

import json
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from scheduler.settings import ALERT, Alerts, Schedule

DATE = "{date}"


class Order(msgspec.Struct, frozen=True):
    """Something to run: `name` is the schedule's, or that of alerts, `arguments` are run.py's.

    One joins another of the same `scope` that waits. `cause` is what it is known by when it comes again,
    `reason` is told to people.
    """

    name: str
    arguments: tuple[str, ...]
    scope: str
    cause: str
    reason: str
    # Whether the command is told cause and reason.
    told: bool


def scheduled(name: str, schedule: Schedule, moment: datetime, zone: ZoneInfo) -> Order:
    """What a schedule runs at a moment.

    On the night when an hour comes twice, what comes at a set hour is run once, what comes every hour twice.
    """
    local = moment.astimezone(zone)
    hours = schedule.cron.split()[1]
    clock = f"{local:%Y-%m-%dT%H:%M}"
    cause = f"{name}@{clock}{f'{local:%z}' if hours.startswith('*') else ''}[{zone.key}]"
    arguments = arguments_of(schedule, f"{local:%Y-%m-%d}")
    if schedule.pipeline == "retraining":
        reason = f"{name}, {local:%Y-%m-%d %H:%M} ({zone.key})"
        return _retraining(name, schedule.problem, schedule.stack, arguments, cause, reason)
    return Order(name, arguments, json.dumps(arguments), cause, reason="", told=False)


def alerted(problem: str, trigger: str, alerts: Alerts, cause: str, reason: str) -> Order:
    """The retraining that an alert asks for."""
    settings = tuple(f"--set={setting}" for setting in alerts.set)
    arguments = (*_common("retraining", problem, alerts.stack, trigger), *settings)
    return _retraining(ALERT, problem, alerts.stack, arguments, cause, reason)


def arguments_of(schedule: Schedule, date: str) -> tuple[str, ...]:
    """What run.py is told for a schedule, with `date` where its texts say so.

    Each is one word with its value, so that no value can be taken for an option.
    """
    arguments = list(_common(schedule.pipeline, schedule.problem, schedule.stack, "calendar"))
    for option in ("since", "input", "output"):
        value = getattr(schedule, option)
        if value:
            arguments.append(f"--{option}={value.replace(DATE, date)}")
    arguments += ["--overwrite"] if schedule.overwrite else []
    return (*arguments, *(f"--set={setting}" for setting in schedule.set))


def _common(pipeline: str, problem: str, stack: str, trigger: str) -> tuple[str, ...]:
    common = (f"--pipeline={pipeline}", f"--problem={problem}", f"--stack={stack}")
    return (*common, f"--trigger={trigger}") if pipeline == "retraining" else common


def _retraining(
    name: str, problem: str, stack: str, arguments: tuple[str, ...], cause: str, reason: str
) -> Order:
    # Whatever asks for it: one new model answers all of them.
    scope = json.dumps(["retraining", problem, stack])
    return Order(name, arguments, scope, cause, reason, told=True)
