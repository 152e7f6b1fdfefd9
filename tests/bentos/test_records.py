"""What a service keeps: counters, logged rows and outcomes, of two variants and one in the shadow."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import httpx
import pandas as pd
import pytest

from bentos.build import build_bento, store_model
from millrace.bundle import verify
from millrace.contract import Problem
from millrace.errors import UserError
from millrace.prediction_log import read_labelled, read_log
from tests.bentos.running import HOUSE, NAME, Service, running, wait_for
from tests.bentos.test_variants import changed

REQUESTS, ROWS = 1000, 3


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('log')}/log.db"


@pytest.fixture(scope="module")
def service(
    bentoml_home: Path,  # noqa: ARG001
    houses_folder: Path,
    log: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    """Two workers, half of the keys to a challenger, which is also scored in the shadow."""
    folder = tmp_path_factory.mktemp("serve")
    new = changed(houses_folder, folder / "new")
    other = store_model(new, NAME, verify(new), "2")
    build_bento(store_model(houses_folder, NAME, verify(houses_folder), "1"))
    with running(folder, CHALLENGER=other, CHALLENGER_SHARE="0.5", SHADOW=other, LOG=log) as service:
        yield service


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=10) as client:
        yield client


@pytest.fixture(scope="module")
def answered(service: Service) -> Counter[str]:
    """Rows by the version that answered, of some requests at once to both workers."""

    found: Counter[str] = Counter()
    numbers = iter(range(REQUESTS))

    async def ask_on(client: httpx.AsyncClient) -> None:
        for number in numbers:
            rows = [{**HOUSE, "parcel": f"p{number}-{row}"} for row in range(ROWS)]
            headers = {"X-Request-ID": f"r{number}"}
            answer = await client.post("/v1/predict", json={"rows": rows}, headers=headers)
            assert answer.status_code == 200
            found[answer.json()["model"]["version"]] += ROWS

    async def ask() -> set[str]:
        clients, workers = [], set()
        async with AsyncExitStack() as stack:
            for worker in service.workers:
                # Whoever connects now is the other's.
                worker.suspend()
                for _ in range(4):
                    opened = httpx.AsyncClient(base_url=service.url, timeout=30)
                    clients.append(await stack.enter_async_context(opened))
                    # The ids that a worker gives begin alike.
                    given = (await clients[-1].get("/livez")).headers["X-Request-ID"]
                    workers.add(given.partition("-")[0])
                worker.resume()
            await asyncio.gather(*map(ask_on, clients))
        return workers

    assert len(asyncio.run(ask())) == 2
    return found


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
    service: Service, answered: Counter[str], log: str, houses: Problem
) -> None:
    table = logged(log, houses, 2 * REQUESTS * ROWS)
    assert len(table) == 2 * REQUESTS * ROWS
    by_variant = table["_variant"].value_counts().to_dict()
    assert by_variant["champion"] == answered["1"]
    assert by_variant["challenger"] == answered["2"]
    assert by_variant["shadow"] == REQUESTS * ROWS
    wait_for(lambda: service.counted("millrace_log_rows_total") == {"": len(table)})
    told = service.counted("millrace_rows_total")
    assert {name: told[f'{{variant="{name}"}}'] for name in by_variant} == by_variant
    binned = service.counted("millrace_prediction_rows_total")
    assert {
        name: sum(binned[labels] for labels in binned if f'"{name}"' in labels) for name in by_variant
    } == by_variant
    print(f"{len(table)} rows, by counters as in the log: {by_variant}")
    assert service.counted("millrace_request_seconds_count")['{route="/v1/predict",status="200"}'] == REQUESTS
    assert set(service.counted("millrace_log_lost_total").values()) == {0.0}


def test_the_latest_verdict_is_shown_beside_the_counters(service: Service, bentoml_home: Path) -> None:
    assert service.counted("millrace_window_rows") == {}
    path = bentoml_home / "monitoring" / f"{NAME}.prom"
    path.parent.mkdir()
    path.write_bytes(b'# TYPE millrace_window_rows gauge\nmillrace_window_rows{version="1"} 12.0\n')
    assert service.counted("millrace_window_rows") == {'{version="1"}': 12.0}
    path.unlink()
    assert service.counted("millrace_window_rows") == {}


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


def test_unknown_paths_are_one_series(service: Service, client: httpx.Client) -> None:
    for number in range(50):
        client.get(f"/nothing/{number}")
    routes = {
        re.search(r'route="([^"]*)"', labels)[1]
        for labels in service.counted("millrace_request_seconds_count")
    }  # type: ignore[index]
    assert not [route for route in routes if "nothing" in route]
    assert "other" in routes
