"""Alerts: the rules and their unit tests, as promtool runs them, and the routes, as amtool reads them."""

import re
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
UNIT_TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
SEVERITIES = {"page", "ticket"}
TRIGGERS = {"Drift": "drift", "Decay": "decay", "StaleModel": "calendar"}
# The list, and what else a small team would not see by itself.
ALERTS = {
    *("ServiceDown", "HighLatency", "ServerErrors", "RefusedRequests", "NoTraffic", "LogLoss", "LogFailing"),
    *("Drift", "Decay", "StaleModel", "StaleMonitoring", "NeverMonitored"),
    *("PipelineFailed", "SchedulerDown", "JobFailed", "JobsWaiting"),
}


def read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content


def rules() -> dict[str, dict[str, Any]]:
    return {
        rule["alert"]: rule for path in RULES for group in read(path)["groups"] for rule in group["rules"]
    }


def call(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def anchors(page: Path) -> set[str]:
    """What a page's headings are called in links to them, as GitHub makes it."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_prometheus_and_alertmanager_take_the_files() -> None:
    assert "is valid prometheus config" in call("promtool", "check", "config", PROMETHEUS / "prometheus.yml")
    assert call("promtool", "check", "rules", *RULES).count("SUCCESS") == len(RULES)
    assert "SUCCESS" in call("amtool", "check-config", PROMETHEUS / "alertmanager.yml")


@pytest.mark.parametrize("path", UNIT_TESTS, ids=lambda path: path.stem)
def test_the_rules_do_what_their_unit_tests_say(path: Path) -> None:
    call("promtool", "test", "rules", path)


def test_a_rule_that_is_changed_is_caught(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "tests").mkdir()
    text = (PROMETHEUS / "rules" / "model.yml").read_text()
    (tmp_path / "rules" / "model.yml").write_text(text.replace('status="drift"', 'status="drfit"'))
    unit = tmp_path / "tests" / "model.yml"
    unit.write_text((PROMETHEUS / "tests" / "model.yml").read_text())
    done = subprocess.run(["promtool", "test", "rules", unit], capture_output=True, text=True)
    assert done.returncode == 1
    assert "alertname: Drift" in done.stdout + done.stderr


def test_of_each_alert_a_unit_test_sees_it_fire_end_and_stay_silent_just_below() -> None:
    fires, ends, silent = set(), set(), set()
    for path in UNIT_TESTS:
        for case in read(path)["tests"]:
            seen = defaultdict(list)
            for moment in case["alert_rule_test"]:
                seen[moment["alertname"]].append(bool(moment["exp_alerts"]))
            for alert, fired in seen.items():
                fires |= {alert} if any(fired) else set()
                ends |= {alert} if any(fired) and not fired[-1] else set()
                silent |= set() if any(fired) else {alert}
    assert fires == ends == silent == ALERTS == set(rules())


def test_each_alert_says_how_grave_it_is_and_what_to_do() -> None:
    page = anchors(ROOT / "docs" / "alerts.md")
    for name, rule in rules().items():
        assert rule["labels"]["severity"] in SEVERITIES, name
        assert rule["annotations"]["summary"].count("{{") >= 1, name
        file, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert (file, anchor) == ("docs/alerts.md", name.lower())
        assert anchor in page, name


def test_what_leads_to_a_retraining_names_trigger_and_problem_and_outlives_a_gap() -> None:
    retrains = {name: rule for name, rule in rules().items() if "retrain" in rule["labels"]}
    assert {name: rule["labels"]["retrain"] for name, rule in retrains.items()} == TRIGGERS
    for name, rule in retrains.items():
        # One alert, whatever the number of services that show the same verdict.
        assert "max by (problem, version)" in rule["expr"], name
        assert rule["keep_firing_for"], name


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_all_go_to_the_person_and_some_to_the_scheduler_too(name: str) -> None:
    labels = {"alertname": name, "problem": "iris", **rules()[name]["labels"]}
    routed = call(
        "amtool", "config", "routes", "test", f"--config.file={PROMETHEUS}/alertmanager.yml",
        *(f"{label}={value}" for label, value in labels.items()),
    )  # fmt: skip
    assert routed.strip() == ("retraining,person" if name in TRIGGERS else "person")


def test_the_scheduler_is_rung_at_once_with_a_token_and_not_about_ends() -> None:
    configuration = read(PROMETHEUS / "alertmanager.yml")
    (route,) = [route for route in configuration["route"]["routes"] if route["receiver"] == "retraining"]
    assert (route["group_wait"], route["group_interval"]) == ("0s", "1s")
    (receiver,) = [each for each in configuration["receivers"] if each["name"] == "retraining"]
    (hook,) = receiver["webhook_configs"]
    assert hook["send_resolved"] is False
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/v1/alerts", hook["url"])
    assert hook["http_config"]["authorization"] == {"type": "Bearer", "credentials_file": "webhook_token"}


def test_inhibition_is_about_alerts_that_there_are() -> None:
    text = (PROMETHEUS / "alertmanager.yml").read_text().partition("inhibit_rules:")[2]
    named = {name for found in re.findall(r'alertname=~?"([^"]+)"', text) for name in found.split("|")}
    assert len(named) > 5
    assert named <= ALERTS
