"""configs/schedules.yaml: what is shipped, and what is wrong is named with its place."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from millrace.errors import UserError
from scheduler.settings import FILE, make_trigger, read_schedules

GOOD = """\
time_zone: Europe/Vienna
schedules:
  weekly:
    cron: "0 3 * * sun"
    pipeline: retraining
    problem: iris
"""


def refused(tmp_path: Path, text: str) -> str:
    path = tmp_path / "schedules.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_schedules(path)
    return str(error.value).removeprefix(f"{path}, ")


def test_what_is_shipped_can_be_read() -> None:
    shipped = read_schedules(FILE)
    assert {name: one.pipeline for name, one in shipped.schedules.items()} == {
        "weekly-retraining": "retraining",
        "hourly-monitoring": "monitoring",
        "nightly-inference": "inference",
    }
    assert set(shipped.enabled) == {"weekly-retraining", "hourly-monitoring"}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("cron:", "corn:", "line 4: unknown key 'schedules.weekly.corn'. Did you mean 'cron'?"),
        ("time_zone", "timezone", "line 1: unknown key 'timezone'. Did you mean 'time_zone'?"),
        ("Vienna", "Viena", "line 1: 'time_zone': is no time zone such as UTC"),
        ("Europe/Vienna", "../zone", "line 1: 'time_zone': is no time zone such as UTC"),
        ("retraining", "training", "line 5: 'schedules.weekly.pipeline' is 'training'; expected"),
        ("iris", "irsi", "line 6: 'schedules.weekly.problem': Unknown problem 'irsi'. Did you mean 'iris'?"),
        ("problem: iris", "problem: iris\n    stack: prod", "line 7: 'schedules.weekly.stack': Unknown"),
        ("problem: iris", "problem: iris\n    since: 24h", "'since' is not for retraining"),
        ("retraining", "inference", "line 3: 'schedules.weekly': inference needs 'input' and 'output'"),
        ("weekly:", "Weekly!:", "line 3: 'schedules.Weekly!.[key]': string should match pattern"),
        ("weekly:", "alert:", "line 2: 'schedules': 'alert' is what jobs of alerts are called"),
        ("0 3 * * sun", "0 3 * *", "line 4: 'schedules.weekly.cron': has five parts"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert told in refused(tmp_path, GOOD.replace(old, new, 1))


def test_the_stack_of_alerts_exists(tmp_path: Path) -> None:
    told = refused(tmp_path, "alerts: {stack: loacl}\n")
    assert told.startswith("line 1: 'alerts.stack': Unknown stack 'loacl'. Did you mean 'local'?")


@pytest.mark.parametrize(
    ("cron", "told"),
    [
        ("0 3 * * 0", "weekdays have names"),
        ("0 3 * * 1-5", "weekdays have names"),
        ("0 3 1 * mon", "ambiguous"),
        ("0 3 last * *", "'last' is not made of"),
        ("0 3 ? * *", r"'\?' is not made of"),
        ("61 * * * *", "higher than the maximum"),
        ("0 0 30 2 *", "never comes"),
        ("@daily", "five parts"),
        ("0 0 * * * *", "five parts"),
    ],
)
def test_what_others_would_understand_otherwise_is_no_cron(cron: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make_trigger(cron, ZoneInfo("UTC"))


@pytest.mark.parametrize("cron", ["*/5 * * * *", "0,30 8-18 * * mon-fri", "0 3 1 jan,jul *", "0 0 29 2 *"])
def test_what_all_understand_alike_is_one(cron: str) -> None:
    make_trigger(cron, ZoneInfo("UTC"))
