"""The HTTP of the service, in this process."""

import asyncio
import dataclasses
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from bentos.app import INLINE_LIMIT
from bentos.bodies import BODY_LIMIT
from millrace.bundle import SPLIT, Bundle
from tests.bentos.serving import Client, Stub, application, connect, of_another, with_model
from tests.millrace.cases import make_fitted

HOUSE = {"area (m2)": 80, "rooms": 3, "district": "north", "new": False}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def client(houses_bundle: Bundle) -> Client:
    return Client(application(houses_bundle))


def assert_problem(response: httpx.Response, status: int) -> Any:
    """Check the one form that every error has, and return its content."""
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    content = response.json()
    assert content["status"] == status
    assert set(content) - {"errors"} == {"type", "title", "status", "detail"}
    return content


def test_a_row_is_answered_as_the_bundle_predicts(client: Client, houses_bundle: Bundle) -> None:
    response = client.post("/v1/predict", json={"rows": [HOUSE, {**HOUSE, "sold": "2024-05-01"}]})
    missing = [None, None]
    columns = dict.fromkeys(houses_bundle.problem.inputs, missing) | {
        "area (m2)": [80, 80],
        "rooms": [3, 3],
        "district": ["north", "north"],
        "new": [False, False],
        "sold": [None, np.datetime64("2024-05-01")],
    }
    expected = houses_bundle.fitted.predict(columns).tolist()
    assert response.status_code == 200
    assert response.json() == {
        "predictions": [{"prediction": value} for value in expected],
        "model": {"name": "served_houses", "version": "abc", "digest": houses_bundle.digest},
    }


def test_a_class_is_answered_with_probabilities(iris_bundle: Bundle) -> None:
    client = Client(application(iris_bundle))
    flower = dict.fromkeys(iris_bundle.problem.inputs, 1.5)
    answer = client.post("/v1/predict", json={"rows": [flower]}).json()["predictions"][0]
    assert set(answer["probabilities"]) == {"setosa", "versicolor", "virginica"}
    assert answer["prediction"] == max(answer["probabilities"], key=answer["probabilities"].get)
    assert sum(answer["probabilities"].values()) == pytest.approx(1)


def test_a_label_follows_the_threshold_and_the_model_tells_it(iris_bundle: Bundle, tmp_path: Path) -> None:
    fitted = make_fitted("binary", "linear")
    homes = of_another(iris_bundle, fitted, tmp_path / "homes")
    row = {"size": None, "floor": 1, "kind": "flat", "lift": None, "built": None}
    for threshold, expected in ((0.0, "true"), (1.0000000000000002, "false")):
        changed = dataclasses.replace(fitted, threshold=threshold)
        client = Client(application(dataclasses.replace(homes, fitted=changed)))
        answer = client.post("/v1/predict", json={"rows": [row]}).json()["predictions"][0]
        assert answer["prediction"] == expected
        assert 0.01 < answer["probabilities"]["true"] < 0.99
        assert client.get("/v1/model").json()["threshold"] == threshold
    assert "threshold" not in Client(application(iris_bundle)).get("/v1/model").json()


def test_a_large_batch_is_answered_like_its_rows(client: Client) -> None:
    rows = [{**HOUSE, "area (m2)": 10 + i / 4} for i in range(1000)]
    assert len(json.dumps(rows)) > INLINE_LIMIT
    together = client.post("/v1/predict", json={"rows": rows}).json()["predictions"]
    alone = [client.post("/v1/predict", json={"rows": [row]}).json()["predictions"][0] for row in rows[::200]]
    assert together[::200] == alone


def test_the_model_is_described(client: Client, houses_bundle: Bundle) -> None:
    about = client.get("/v1/model").json()
    assert about["digest"] == houses_bundle.digest
    assert (about["name"], about["version"], about["task"]) == ("served_houses", "abc", "regression")
    assert about["synthetic"] is True
    assert about["trained"]["created"] == "2025-01-01T00:00:00+00:00"
    assert about["trained"]["data"]["origin"] == "made up"
    assert about["evaluation"]["metrics"] == {"rmse": {"value": 0.5, "low": 0.4, "high": 0.6}}
    assert about["importance"] == dict.fromkeys(houses_bundle.problem.inputs, pytest.approx(1 / 9))
    assert about["split"] == houses_bundle.read(SPLIT)


def test_the_schema_is_served(client: Client) -> None:
    assert "area (m2)" in client.get("/v1/schema").json()["$defs"]["Row"]["properties"]


def test_intervals_come_on_request_and_change_nothing_else(client: Client, houses_bundle: Bundle) -> None:
    rows = [{**HOUSE, "area (m2)": 10 + 9 * i} for i in range(100)]
    plain = client.post("/v1/predict", json={"rows": rows}).json()["predictions"]
    asked = client.post("/v1/predict", json={"rows": rows, "interval": 0.8}).json()["predictions"]
    intervals = [answer.pop("interval") for answer in asked]
    assert asked == plain
    values = np.array([answer["prediction"] for answer in plain])
    assert intervals == houses_bundle.fitted.bounds(values, 0.8).tolist()


def test_a_wrong_level_is_422(client: Client) -> None:
    content = assert_problem(client.post("/v1/predict", json={"rows": [HOUSE], "interval": 95}), 422)
    assert content["detail"] == "'interval' must be a number from 0.5 to 0.99, or null, not 95."
    assert content["errors"] == [{"row": None, "field": "interval", "rule": "range", "value": 95}]


def test_a_set_of_classes_holds_the_answer(iris_bundle: Bundle) -> None:
    client = Client(application(iris_bundle))
    flowers = [dict.fromkeys(iris_bundle.problem.inputs, 1 + i / 10) for i in range(60)]
    half, all_but_one = (
        client.post("/v1/predict", json={"rows": flowers, "interval": level}).json()["predictions"]
        for level in (0.5, 0.99)
    )
    assert all(answer["prediction"] in answer["set"] for answer in half)
    assert min(len(answer["set"]) for answer in half) == 1
    # Of some fifty rows a class none can be ruled out so surely.
    assert all(answer["set"] == list(iris_bundle.problem.classes) for answer in all_but_one)


@pytest.mark.parametrize(
    ("accept", "kind", "name"),
    [
        ("", "text/html", "card.html"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html", "card.html"),
        ("text/markdown", "text/markdown", "card.md"),
        ("Text/Markdown, text/html;q=0.5", "text/markdown", "card.md"),
    ],
)
def test_the_card_is_shown_with_its_provenance(client: Client, accept: str, kind: str, name: str) -> None:
    response = client.get("/v1/card", headers={"Accept": accept})
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith(kind)
    assert response.headers["Vary"] == "Accept"
    assert f"The card of served_houses, {name}" in response.text
    assert "made up" in response.text
    assert "<!--" not in response.text
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]


def test_a_broken_contract_is_422(client: Client) -> None:
    content = assert_problem(client.post("/v1/predict", json={"rows": [HOUSE, {**HOUSE, "rooms": 99}]}), 422)
    assert content["errors"] == [{"row": 1, "field": "rooms", "rule": "range", "value": 99}]
    assert content["detail"] == "Row 1: 'rooms' must be an integer from 1 to 30, not 99."


def test_malformed_json_is_400(client: Client) -> None:
    assert_problem(client.post("/v1/predict", content=b"{", headers=JSON), 400)


def test_an_unknown_path_is_404(client: Client) -> None:
    assert "/v2/predict" in assert_problem(client.get("/v2/predict"), 404)["detail"]


def test_another_method_is_405(client: Client) -> None:
    response = client.get("/v1/predict")
    assert_problem(response, 405)
    assert response.headers["Allow"] == "POST"


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/plain"}, {"Content-Type": ""}])
def test_another_media_type_is_415(client: Client, headers: dict[str, str]) -> None:
    assert_problem(client.post("/v1/predict", content=b"{}", headers=headers), 415)


def test_a_charset_is_no_other_media_type(client: Client) -> None:
    content = json.dumps({"rows": [HOUSE]})
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert client.post("/v1/predict", content=content, headers=headers).status_code == 200


def test_a_body_over_the_limit_is_413_before_it_is_read(houses_bundle: Bundle) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 2**20
            yield b" " * 2**20

    client = Client(application(houses_bundle))
    assert_problem(client.post("/v1/predict", content=endless(), headers=JSON), 413)
    assert sent <= BODY_LIMIT + 2 * 2**20


def test_a_body_of_the_limit_is_read(client: Client) -> None:
    content = json.dumps({"rows": [HOUSE]}).encode().ljust(BODY_LIMIT)
    assert client.post("/v1/predict", content=content, headers=JSON).status_code == 200


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_prediction_that_is_no_number_is_500_and_logged(
    value: float, houses_bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(application(with_model(houses_bundle, Stub(value))))
    with caplog.at_level(logging.ERROR):
        response = client.post("/v1/predict", json={"rows": [HOUSE]})
    assert_problem(response, 500)
    assert "finite" not in response.text
    assert "finite" in caplog.text


def test_a_large_batch_does_not_keep_others_waiting(houses_bundle: Bundle) -> None:
    app = application(with_model(houses_bundle, Stub(1.0, seconds=1)))

    async def ask() -> float:
        async with connect(app) as client:
            batch = asyncio.create_task(client.post("/v1/predict", json={"rows": [HOUSE] * 1000}))
            await asyncio.sleep(0.1)
            start = time.perf_counter()
            await client.get("/v1/model")
            waited = time.perf_counter() - start
            assert not batch.done()
            assert (await batch).status_code == 200
            return waited

    assert asyncio.run(ask()) < 0.5
