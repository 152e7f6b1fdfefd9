"""From an alert to a command: nothing that somebody writes into an alert becomes an option of its own."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands import PIPELINES
from commands.options import make_parser
from scheduler.alerts import REASON, Alert, Notification, Unwanted, order_of
from scheduler.settings import Alerts
from tests.scheduler.running import alert, notification

PROBLEMS = ["iris", "breast_cancer"]
TEXT = st.one_of(
    st.text(), st.sampled_from(["--stack=production", "-x", "a\n--set=seed=1", "\x00", "; rm -rf /", "$(id)"])
)


def decoded(*alerts: object) -> list[Alert]:
    body = json.dumps(notification(*alerts))
    return msgspec.json.decode(body, type=Notification).alerts


@given(TEXT, st.dictionaries(TEXT, TEXT), st.sampled_from(["drift", "decay", "data", "calendar"]))
def test_whatever_is_written_the_command_is_the_same_but_for_the_reason(
    summary: str, labels: dict[str, str], trigger: str
) -> None:
    labels |= {"problem": "iris", "retrain": trigger}
    [one] = decoded(alert(labels=labels, annotations={"summary": _encodable(summary)}))
    order = order_of(one, PROBLEMS, Alerts())
    assert order.arguments == (
        "--pipeline=retraining", "--problem=iris", "--stack=local", f"--trigger={trigger}",
    )  # fmt: skip
    assert order.reason.isprintable() or not order.reason.isascii()
    assert 0 < len(order.reason) <= REASON
    assert "\n" not in order.reason
    assert "\x00" not in order.reason
    words = [*order.arguments, f"--reason={order.reason}", f"--cause={order.cause}"]
    understood = vars(make_parser(PIPELINES).parse_args(words))
    assert (understood.pop("reason"), understood.pop("cause")) == (order.reason, one.cause)
    plain = vars(make_parser(PIPELINES).parse_args(list(order.arguments)))
    assert understood == {name: plain[name] for name in understood}


@given(TEXT, TEXT)
def test_no_other_problem_and_no_other_trigger(problem: str, trigger: str) -> None:
    [one] = decoded(alert(labels={"problem": _encodable(problem), "retrain": _encodable(trigger)}))
    with pytest.raises(Unwanted):
        order_of(one, PROBLEMS, Alerts())


def test_an_alert_without_a_summary_has_its_name_for_a_reason() -> None:
    [one] = decoded(alert(annotations={}))
    assert order_of(one, PROBLEMS, Alerts()).reason == "Drift"
    [one] = decoded(alert(annotations={"summary": "\x1b\x00"}))
    assert order_of(one, PROBLEMS, Alerts()).reason == "drift of iris"


def _encodable(text: str) -> str:
    """As JSON carries it."""
    return text.encode("utf-8", "replace").decode()


def test_an_alert_is_retrained_as_the_file_says() -> None:
    [one] = decoded(alert())
    order = order_of(one, PROBLEMS, Alerts(stack="staging", set=("rows=window", "window=1m")))
    assert order.arguments[2:] == (
        "--stack=staging",
        "--trigger=drift",
        "--set=rows=window",
        "--set=window=1m",
    )
