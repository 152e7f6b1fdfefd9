"""What configs/schedules.yaml may say."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from apscheduler.triggers.cron import CronTrigger
from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from millrace.contract import problem_names
from millrace.errors import UserError, unknown
from millrace.strict import Strict
from millrace.yaml_files import line_of, read_model, read_yaml
from stacks.environment import ROOT
from stacks.stack_files import stack_names

FILE = ROOT / "configs" / "schedules.yaml"
# The name of jobs that alerts ask for.
ALERT = "alert"
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
Pipeline = Literal["retraining", "monitoring", "inference"]
# Those of some pipelines alone, as run.py has them.
OPTIONS: dict[Pipeline, tuple[str, ...]] = {
    "retraining": (),
    "monitoring": ("since",),
    "inference": ("input", "output", "overwrite"),
}
CRON = re.compile(r"[0-9a-z*,/-]+")


class Schedule(Strict):
    """When what is run; `set` are settings of the run, each KEY=VALUE."""

    enabled: bool = True
    cron: str
    pipeline: Pipeline
    problem: str
    stack: str = "local"
    set: tuple[str, ...] = ()
    since: str | None = None
    input: str | None = None
    output: str | None = None
    overwrite: bool = False

    @field_validator("cron")
    @classmethod
    def _comes(cls, cron: str) -> str:
        make_trigger(cron, ZoneInfo("UTC"))
        return cron

    @model_validator(mode="after")
    def _its_own_options(self) -> "Schedule":
        known = OPTIONS[self.pipeline]
        for name in sorted({option for options in OPTIONS.values() for option in options} - set(known)):
            if getattr(self, name):
                raise PydanticCustomError(
                    "option", "'{name}' is not for {pipeline}", {"name": name, "pipeline": self.pipeline}
                )
        if self.pipeline == "inference" and self.enabled and not (self.input and self.output):
            raise PydanticCustomError(
                "option", "inference needs 'input' and 'output', or 'enabled: false' until they are known"
            )
        return self


class Alerts(Strict):
    """What is done about alerts: their problems are retrained on `stack`, each `set` KEY=VALUE of the run."""

    stack: str = "local"
    set: tuple[str, ...] = ()


class Schedules(Strict):
    """The whole file; a job takes `limit_hours` at most, and has `stop_seconds` to end when it is told to."""

    time_zone: str = "UTC"
    retry_seconds: float = Field(60, ge=0, le=86_400)
    stop_seconds: float = Field(30, ge=0, le=3600)
    limit_hours: float = Field(24, gt=0, le=168)
    alerts: Alerts = Alerts()
    schedules: dict[Name, Schedule] = Field(default_factory=dict)

    @field_validator("time_zone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("is no time zone such as UTC or Europe/Vienna") from None
        return name

    @field_validator("schedules")
    @classmethod
    def _free(cls, schedules: dict[str, Schedule]) -> dict[str, Schedule]:
        if ALERT in schedules:
            raise ValueError(f"'{ALERT}' is what jobs of alerts are called; give the schedule another name")
        return schedules

    @property
    def zone(self) -> ZoneInfo:
        """That of all schedules."""
        return ZoneInfo(self.time_zone)

    @property
    def enabled(self) -> dict[str, Schedule]:
        """Those that are not off."""
        return {name: schedule for name, schedule in self.schedules.items() if schedule.enabled}


def read_schedules(path: Path, configs: Path = ROOT / "configs") -> Schedules:
    """Read a file of schedules, and see that the problems and stacks in it exist.

    Raises:
        UserError: names the file, the line, the key and the nearest valid name.
    """
    found = read_model(path, Schedules)
    problems, stacks = problem_names(configs / "problems"), stack_names(configs / "stacks")
    places: list[tuple[tuple[str, ...], str, str, list[str]]] = [
        (("alerts", "stack"), found.alerts.stack, "stack", stacks)
    ]
    for name, schedule in found.schedules.items():
        places += [
            (("schedules", name, "problem"), schedule.problem, "problem", problems),
            (("schedules", name, "stack"), schedule.stack, "stack", stacks),
        ]
    for location, value, kind, known in places:
        if value not in known:
            line = line_of(read_yaml(path)[1], location)
            raise UserError(f"{path}, line {line}: '{'.'.join(location)}': {unknown(kind, value, known)}")
    return found


def make_trigger(cron: str, zone: ZoneInfo) -> CronTrigger:
    """When a cron expression comes.

    Only what cron, APScheduler and Kubernetes understand alike: to one 0 is Monday, to another Sunday; one
    wants the day of the month and the weekday, another is content with either.

    Raises:
        ValueError: it is none, not understood alike, or never comes.
    """
    fields = cron.split()
    if len(fields) != 5:
        raise ValueError("has five parts: minute, hour, day of the month, month, weekday")
    for field in fields:
        if not CRON.fullmatch(field) or "last" in field:
            raise ValueError(f"'{field}' is not made of numbers, names, *, -, / and commas")
    day, weekday = fields[2], fields[4]
    if re.search(r"\d", weekday):
        raise ValueError("weekdays have names (mon, tue, wed, thu, fri, sat, sun): numbers are ambiguous")
    if day != "*" and weekday != "*":
        raise ValueError("either the day of the month or the weekday is *: both at once is ambiguous")
    trigger = CronTrigger.from_crontab(cron, zone)
    if trigger.get_next_fire_time(None, datetime.now(UTC)) is None:
        raise ValueError("never comes")
    return trigger
