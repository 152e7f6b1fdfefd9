"""Grafana's dashboards: built from code, well laid out, and every panel finds data in a real Prometheus.

Grafana itself comes only as an image; what it would ask Prometheus is asked here.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import httpx
import pytest

from bentos.build import build_bento, store_model
from deploy.grafana.__main__ import FOLDER, dashboards
from millrace.bundle import verify
from millrace.monitoring import gauges
from stacks import outcomes
from tests.bentos.conftest import bentoml_home, houses, houses_folder  # noqa: F401
from tests.bentos.running import HOUSE, NAME, Service, running, wait_for
from tests.deploy.watching import prometheus, told
from tests.millrace.verdicts import make_verdict

BOARDS = ("data", "model", "pipelines", "service")
UNITS = {"dtdurations", "none", "percentunit", "reqps", "s", "short"}
# A panel is on a grid of 24 columns.
COLUMNS = 24
# What a person would have chosen; Grafana puts an interval that fits the scrapes for its own.
CHOSEN = {"problem": NAME, "metric": "rmse", "version": "3", "feature": "rooms", "window": "20s"}
CHOSEN |= {"instance": ".+", "__rate_interval": "20s"}
# As the reference is, but for heights: there they are known.
HOUSES = [{**HOUSE, "rooms": rooms, "height": None} for rooms in range(1, 30)]
# What the scheduler tells besides.
SCHEDULER = """
millrace_jobs_waiting 1
millrace_jobs_total{name="hourly-monitoring",outcome="done"} 3
millrace_job_start_timestamp_seconds{name="hourly-monitoring"} 1.7e9
millrace_job_seconds{name="hourly-monitoring"} 4.5
millrace_schedule_next_timestamp_seconds{name="hourly-monitoring"} 1.9e9
millrace_alerts_received_total{outcome="queued"} 1
"""


def board(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return read


def panels(name: str) -> list[dict[str, Any]]:
    """Those that show something; rows are headings."""
    return [panel for panel in board(name)["panels"] if panel["type"] != "row"]


def filled(query: str) -> str:
    """A query with the choices of `CHOSEN` in the variables' places."""
    return re.sub(r"\$(\w+)", lambda found: CHOSEN[found[1]], query)


@pytest.fixture(scope="module")
def watched(
    bentoml_home: Path,  # noqa: ARG001, F811
    houses_folder: Path,  # noqa: F811
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[httpx.Client]:
    """Prometheus beside a service that is asked, told outcomes and judged, and ends of pipelines."""
    build_bento(store_model(houses_folder, NAME, verify(houses_folder), "3"))
    verdict = make_verdict(shift=3, until=datetime.now(UTC)).model_copy(update={"problem": NAME})
    folder = tmp_path_factory.mktemp("watched")
    gauges.publish(folder / "verdict.prom", verdict)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MILLRACE_HOME", str(folder / "home"))
        training = outcomes.Subject(stack="local", pipeline="training", problem=NAME)
        with outcomes.noting(training):
            pass
        outcomes.fail(training, 3.0, "no such column", step="check_bronze")
        with (
            told(lambda: outcomes.exposition() + SCHEDULER.encode()) as scheduler,
            running(
                folder, LOG=f"sqlite:///{folder}/log.db", VERDICT=str(folder / "verdict.prom")
            ) as service,
            asked(service),
            prometheus(
                tmp_path_factory.mktemp("prometheus"), service=service.port, scheduler=scheduler
            ) as client,
        ):
            yield client


@contextmanager
def asked(service: Service) -> Iterator[None]:
    """Load a service meanwhile: what it answers, what it refuses, and outcomes."""
    stopped = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=service.url, timeout=30) as client:
            while not stopped.wait(0.02):
                answer = client.post("/v1/predict", json={"rows": HOUSES})
                assert answer.status_code == 200, answer.text
                request = answer.headers["X-Request-Id"]
                outcome = {"request": request, "row": 0, "actual": 80_000}
                assert client.post("/v1/feedback", json={"outcomes": [outcome]}).status_code == 202
                assert client.post("/v1/predict", json={"rows": [{**HOUSE, "rooms": "3"}]}).status_code == 422

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
        assert asking.is_alive()
    finally:
        stopped.set()
        asking.join()


def samples(client: httpx.Client, query: str) -> list[float]:
    """The values that a query finds now; none that are no numbers."""
    answer = client.get("/api/v1/query", params={"query": filled(query)})
    assert answer.status_code == 200, (query, answer.text)
    values = [float(sample["value"][1]) for sample in answer.json()["data"]["result"]]
    return [value for value in values if value == value]


def without_data(client: httpx.Client, shown: list[dict[str, Any]]) -> list[str]:
    """The panels of which some query finds nothing, and the query."""
    return [
        f"{panel['title']}: {target['expr']}"
        for panel in shown
        for target in panel["targets"]
        if not samples(client, target["expr"])
    ]


def settle(client: httpx.Client, shown: list[dict[str, Any]]) -> None:
    """Wait until all of it finds data; if that does not happen, say what has none."""
    with suppress(AssertionError):
        wait_for(lambda: not without_data(client, shown))
    assert without_data(client, shown) == []


@pytest.mark.parametrize("name", BOARDS)
def test_every_query_of_every_panel_finds_data(watched: httpx.Client, name: str) -> None:
    settle(watched, panels(name))


def test_a_typo_is_found(watched: httpx.Client) -> None:
    shown = panels("service")
    settle(watched, shown)
    spoilt = json.loads(json.dumps(shown).replace("millrace_rows_total", "millrace_row_total"))
    assert [each.partition(":")[0] for each in without_data(watched, spoilt)] == ["Rows by variant"]
    broken = json.loads(json.dumps(shown).replace("sum by (variant) (", "sum by variant ("))
    with pytest.raises(AssertionError, match="parse error"):
        without_data(watched, broken)


@pytest.mark.parametrize("name", BOARDS)
def test_every_variable_has_choices(watched: httpx.Client, name: str) -> None:
    for variable in board(name)["templating"]["list"]:
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
            assert found, variable
            parameters = {"match[]": filled(found[1])}
            values = watched.get(f"/api/v1/label/{found[2]}/values", params=parameters).json()["data"]
            assert values, variable["query"]


def test_the_numbers_are_those_of_the_load(watched: httpx.Client) -> None:
    queries = {panel["title"]: panel["targets"][0]["expr"] for panel in panels("service") + panels("data")}
    by_status = samples(watched, queries["Answers by status"])
    assert sum(by_status) == pytest.approx(1)
    # One of three requests is refused.
    assert samples(watched, queries["Errors by kind"]) == pytest.approx([1 / 3], abs=0.05)
    # Rooms are spread as evenly as the reference's, and heights are gone.
    stability = watched.get(
        "/api/v1/query", params={"query": filled(queries["Population stability index by feature"])}
    ).json()["data"]["result"]
    index = {each["metric"]["feature"]: float(each["value"][1]) for each in stability}
    assert index["rooms"] < 0.2 < 2 < index["height"]
    assert sum(samples(watched, queries["Rows by bin"])) == pytest.approx(1)


def test_alerts_fire_as_the_dashboards_say(watched: httpx.Client) -> None:
    def firing() -> set[tuple[str, str | None]]:
        alerts = watched.get("/api/v1/alerts").json()["data"]["alerts"]
        return {
            (alert["labels"]["alertname"], alert["labels"].get("retrain"))
            for alert in alerts
            if alert["state"] == "firing"
        }

    wait_for(lambda: firing() == {("Drift", "drift"), ("PipelineFailed", None)})


def test_what_is_kept_is_what_the_code_builds() -> None:
    assert dashboards() == {path.name: path.read_text() for path in FOLDER.iterdir()}, "run: make dashboards"
    assert sorted(dashboards()) == [f"{name}.json" for name in BOARDS]


@pytest.mark.parametrize("name", BOARDS)
def test_panels_are_laid_out_and_say_what_they_show(name: str) -> None:
    read = board(name)
    assert read["uid"] == f"millrace-{name}"
    assert read["description"]
    places = {panel["title"]: panel["gridPos"] for panel in read["panels"]}
    assert len(places) == len(read["panels"])
    for title, place in places.items():
        assert 0 <= place["x"] < place["x"] + place["w"] <= COLUMNS, title
    for (one, a), (other, b) in combinations(places.items(), 2):
        beside = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        above = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert beside or above, (one, other)
    for panel in panels(name):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert all(target["legendFormat"] for target in panel["targets"]), panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
