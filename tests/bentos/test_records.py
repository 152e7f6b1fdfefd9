"""What a service keeps: counters, logged rows and outcomes, of two variants and one in the shadow."""

import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pandas as pd
import pytest

from bentos.build import build_bento, store_model
from millrace.bundle import verify
from millrace.contract import Problem
from millrace.errors import UserError
from millrace.prediction_log import read_labelled, read_log
from tests.bentos.test_service import HOUSE, NAME, PATIENCE, free_port, serve, wait_until_ready
from tests.bentos.test_variants import changed

REQUESTS, ROWS = 200, 3


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('log')}/log.db"


@pytest.fixture(scope="module")
def client(
    bentoml_home: Path,  # noqa: ARG001
    houses_folder: Path,
    log: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[httpx.Client]:
    """Two workers, half of the keys to a challenger, which is also scored in the shadow."""
    folder = tmp_path_factory.mktemp("serve")
    new = changed(houses_folder, folder / "new")
    other = store_model(new, NAME, verify(new), "2")
    build_bento(store_model(houses_folder, NAME, verify(houses_folder), "1"))
    environment = {"CHALLENGER": other, "CHALLENGER_SHARE": "0.5", "SHADOW": other, "LOG": log}
    port = free_port()
    process = serve(port, folder, **{f"MILLRACE_SERVE_{name}": value for name, value in environment.items()})
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            wait_until_ready(client, process, folder / "log")
            yield client
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.fixture(scope="module")
def answered(client: httpx.Client) -> Counter[str]:
    """Rows by the version that answered, of some requests in a row."""
    found: Counter[str] = Counter()
    for number in range(REQUESTS):
        body = {"rows": [{**HOUSE, "parcel": f"p{number}-{row}"} for row in range(ROWS)]}
        answer = client.post("/v1/predict", json=body, headers={"X-Request-ID": f"r{number}"})
        assert answer.status_code == 200
        found[answer.json()["model"]["version"]] += ROWS
    return found


def counted(client: httpx.Client, name: str) -> dict[str, float]:
    """A metric's values by the labels in braces."""
    text = client.get("/metrics").text
    return {labels: float(value) for labels, value in re.findall(rf"^{name}(\{{.*\}})? (\S+)$", text, re.M)}


def logged(log: str, problem: Problem, rows: int) -> pd.DataFrame:
    """The log, once so many rows are in it."""
    found = 0
    for _ in range(200):
        # There is no log before the first rows are written.
        with suppress(UserError):
            parts = list(read_log(log, problem))
            found = sum(map(len, parts))
            if found >= rows:
                return pd.concat(parts)
        time.sleep(0.1)
    raise AssertionError(f"{found} rows are logged, not {rows}")


def test_counters_add_up_to_the_log(
    client: httpx.Client, answered: Counter[str], log: str, houses: Problem
) -> None:
    table = logged(log, houses, 2 * REQUESTS * ROWS)
    assert len(table) == 2 * REQUESTS * ROWS
    by_variant = table["_variant"].value_counts().to_dict()
    assert by_variant["champion"] == answered["1"]
    assert by_variant["challenger"] == answered["2"]
    assert by_variant["shadow"] == REQUESTS * ROWS
    time.sleep(1)
    told = counted(client, "millrace_rows_total")
    assert {name: told[f'{{variant="{name}"}}'] for name in by_variant} == by_variant
    assert counted(client, "millrace_log_rows_total") == {"": len(table)}
    assert counted(client, "millrace_request_seconds_count")['{route="/v1/predict",status="200"}'] == REQUESTS
    assert set(counted(client, "millrace_log_lost_total").values()) == {0.0}


def test_a_key_stays_with_its_variant(answered: Counter[str], log: str, houses: Problem) -> None:
    assert min(answered.values()) > 0
    table = logged(log, houses, 2 * REQUESTS * ROWS)
    shown = table[table["_variant"] != "shadow"]
    assert shown.groupby("_request")["_variant"].nunique().max() == 1


@pytest.mark.usefixtures("answered")
def test_outcomes_are_joined_to_what_was_predicted(client: httpx.Client, log: str, houses: Problem) -> None:
    outcomes = [
        {"request": "r1", "row": 2, "actual": 5.5},
        {"key": "p7-0", "actual": 7.5},
        {"key": "nobody", "actual": 1.0},
    ]
    accepted = client.post("/v1/feedback", json={"outcomes": outcomes})
    assert (accepted.status_code, accepted.json()) == (202, {"accepted": 3})
    refused = client.post("/v1/feedback", json={"outcomes": [{"request": "r1", "actual": "many"}]})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "actual"
    for _ in range(100):
        found = [part[part["_variant"] != "shadow"] for part in read_labelled(log, houses)]
        if sum(map(len, found)) == 2:
            break
        time.sleep(0.1)
    assert sorted(pd.concat(found)["price"]) == [5.5, 7.5]


def test_unknown_paths_are_one_series(client: httpx.Client) -> None:
    for number in range(50):
        client.get(f"/nothing/{number}")
    routes = {
        re.search(r'route="([^"]*)"', labels)[1]
        for labels in counted(client, "millrace_request_seconds_count")
    }  # type: ignore[index]
    assert not [route for route in routes if "nothing" in route]
    assert "other" in routes
