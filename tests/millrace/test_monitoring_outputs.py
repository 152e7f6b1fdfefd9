"""What a run leaves: gauges that Prometheus reads, a history that survives a crash, pages, plots, reports."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import ValidationError

from millrace.contract import Task
from millrace.errors import UserError
from millrace.moments import begin
from millrace.monitoring import MonitoringSettings, gauges, history
from millrace.monitoring.evidently_reports import KINDS, reports
from millrace.monitoring.page import notes, verdict_page
from millrace.monitoring.plots import history_plot
from tests.millrace.cases import TASKS, make_fitted, make_problem
from tests.millrace.verdicts import COUNTED, NOW, make_verdict
from tests.millrace.watched import answered


@pytest.mark.parametrize("task", TASKS)
def test_gauges_say_what_the_verdict_says(task: Task, tmp_path: Path) -> None:
    verdict = make_verdict(task, shift=3)
    gauges.publish(tmp_path / "deep" / "homes.prom", verdict)
    text = (tmp_path / "deep" / "homes.prom").read_text()
    common = {"problem": "homes", "version": "3"}
    found = {
        (sample.name, *(value for name, value in sorted(sample.labels.items()) if name not in common)): sample
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert all(sample.labels.items() >= common.items() for sample in found.values())
    value = {key: sample.value for key, sample in found.items()}
    assert value["millrace_drift_status", "drift"] == 1
    assert (
        value["millrace_drift_status", "no drift"] == value["millrace_drift_status", "not enough data"] == 0
    )
    scores = {column.name: column.score for column in verdict.drift.columns}
    assert {key[1]: v for key, v in value.items() if key[0] == "millrace_drift_score"} == scores
    name = verdict.performance.metric_name
    assert value["millrace_performance", "value", name] == verdict.performance.metrics[name].value
    assert verdict.performance.estimate is not None
    assert value["millrace_performance_estimate", "low", name] == verdict.performance.estimate.low
    assert value["millrace_monitoring_timestamp_seconds",] == NOW.timestamp()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["homes.prom"]


def test_where_there_is_no_verdict_there_is_no_number() -> None:
    text = gauges.exposition(make_verdict(rows=20)).decode()
    assert 'millrace_drift_status{problem="homes",status="not enough data",version="3"} 1.0' in text
    assert 'millrace_drift_status{problem="homes",status="no drift",version="3"} 0.0' in text
    assert "\nmillrace_drift_score{" not in text


def test_the_history_is_added_to_and_survives_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "local" / "homes.jsonl"
    assert history.read(path, 10) == []
    points = [
        history.Point.of(
            make_verdict(until=NOW + timedelta(days=day), rows=200 - 90 * (day == 1)), f"run {day}"
        )
        for day in range(3)
    ]
    history.append(path, points[1])
    history.append(path, points[0])
    assert history.read(path, 10) == points[:2]
    # A crash in the middle of a line.
    with path.open("a") as file:
        file.write(points[2].model_dump_json()[:80])
    assert history.read(path, 10) == points[:2]
    history.append(path, points[2])
    assert history.read(path, 10) == points
    assert history.read(path, 1) == points[2:]
    assert history_plot(points).startswith(b"\x89PNG")
    assert history_plot(history.read(path, 10)[:1]).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("rows", "shift", "said"), [(200, 3.0, "drift"), (200, 0.0, "no drift"), (0, 0.0, "not enough")]
)
def test_the_page_says_it_and_loads_nothing(rows: int, shift: float, said: str) -> None:
    verdict = make_verdict(rows=rows, shift=shift)
    page = verdict_page(verdict, make_problem(), history_plot([history.Point.of(verdict, "one")]), 0.95)
    assert f'">{said}' in page
    assert verdict.drift.why in page
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)
    for note in notes(COUNTED):
        assert note.replace("'", "&#39;") in page
    assert "Rows dated in the future, left out; a machine&#39;s clock is wrong: 2." in page
    assert "The estimate is no" in page


@pytest.mark.parametrize("task", TASKS)
def test_evidently_s_reports_are_of_a_sample_and_say_so(task: Task) -> None:
    fitted = make_fitted(task, "lightgbm")
    reference, window = answered(fitted, 150, 1), answered(fitted, 120, 2)
    window.loc[::2, "y"] = None
    pages = reports(fitted.problem, reference, window, rows=7_000)
    assert list(pages) == list(KINDS)
    assert "120 of the window&#x27;s 7,000 rows, drawn at random" in pages["drift"]
    assert "60 rows whose outcome is known, among 120 of the" in pages["performance"]
    for page in pages.values():
        assert "Evidently&#x27;s own thresholds" in page
        assert len(page) > 1_000_000
        # Scripts and styles are in it.
        assert not re.search(r"""<(script|link|img)[^>]+(src|href)=["']?http""", page)
    window["y"] = np.nan
    unlabelled = reports(fitted.problem, reference, window, rows=120)["performance"]
    assert "No outcome of the sampled rows is known yet." in unlabelled
    nothing = reports(fitted.problem, reference, window[:0], rows=0)
    assert all("The window has no rows." in page for page in nothing.values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", NOW - timedelta(minutes=90)),
        ("24h", NOW - timedelta(hours=24)),
        ("2w", NOW - timedelta(weeks=2)),
        ("2026-02-28", datetime(2026, 2, 28, tzinfo=UTC)),
        ("2026-03-01T10:00+02:00", datetime(2026, 3, 1, 8, tzinfo=UTC)),
    ],
)
def test_a_window_begins_when_a_person_says(text: str, expected: datetime) -> None:
    assert begin(text, NOW) == expected


@pytest.mark.parametrize("text", ["yesterday", "0h", "7", "2027-01-01", "999999w", "2026-13-01"])
def test_other_moments_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=f"--since {text}: "):
        begin(text, NOW)


def test_settings_that_cannot_hold_the_rate_are_refused() -> None:
    assert MonitoringSettings(false_alarms=0.01, bootstrap=300)
    with pytest.raises(ValidationError, match="'bootstrap' must be at least 29"):
        MonitoringSettings(false_alarms=0.001, bootstrap=2000)
    for window in ("a week", "some 7d or so"):
        with pytest.raises(ValidationError, match="window"):
            MonitoringSettings(window=window)
