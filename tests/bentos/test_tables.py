"""Tables as bodies, and everything else that is new at the door."""

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from bentos.access import Gate
from millrace.bundle import Bundle
from millrace.request_tables import ARROW, CSV, PARQUET, write_table
from tests.bentos.serving import Client, application, of_another
from tests.bentos.test_access import key
from tests.millrace.cases import make_fitted

TABLE = pa.table(
    {
        "note": ["first", 'se"cond', None],
        "parcel": ["a", "b", "c"],
        "area (m2)": [80.0, 90.5, 100.0],
        "height": [2.5, None, 12.0],
        "rooms": [3, 4, 5],
        "floor": pa.array([None, 1, 2], pa.int64()),
        "district": pa.array(["north", "south", 'a "b"']).dictionary_encode(),
        "heating": [None, "gas", "wood"],
        "garden": [True, None, False],
        "new": [True, False, False],
        "sold": pa.array([None, pd.Timestamp("2024-05-01"), pd.Timestamp("2021-01-01 12:30")]),
        "deed": [None, "d1", "d2"],
    }
)


@pytest.fixture(scope="module")
def client(houses_bundle: Bundle) -> Client:
    return Client(application(houses_bundle))


def as_json(table: pa.Table) -> dict[str, Any]:
    rows = table.drop_columns("note").to_pylist()
    for row in rows:
        row["sold"] = row["sold"].isoformat() if row["sold"] else None
    return {"rows": rows}


def post(client: Client, media: str, body: bytes, accept: str = "", query: str = "") -> Any:
    headers = {"Content-Type": media, **({"Accept": accept} if accept else {})}
    return client.post(f"/v1/predict{query}", content=body, headers=headers)


@pytest.mark.parametrize("media", [CSV, PARQUET, ARROW])
def test_a_key_of_whole_numbers_is_a_name(media: str, client: Client) -> None:
    keys = TABLE.set_column(1, "parcel", pa.array([1, 2, None]))
    assert post(client, media, write_table(keys, media)).status_code == 200


@pytest.mark.parametrize("media", [CSV, PARQUET, ARROW])
def test_a_table_is_answered_like_its_rows(media: str, client: Client) -> None:
    expected = client.post("/v1/predict", json={**as_json(TABLE), "interval": 0.8}).json()
    found = post(client, media, write_table(TABLE, media), query="?interval=0.8")
    assert found.json() == expected


def test_a_csv_comes_back_with_answers_beside_its_own_columns(client: Client) -> None:
    sent = write_table(TABLE, CSV)
    answer = post(client, CSV, sent, accept="text/csv", query="?interval=0.9")
    assert answer.headers["Content-Type"] == "text/csv"
    before, after = pd.read_csv(io.BytesIO(sent)), pd.read_csv(io.BytesIO(answer.content))
    assert list(after.columns) == [*before.columns, "_prediction", "_low", "_high"]
    pd.testing.assert_frame_equal(after[before.columns], before)
    assert (after["_low"] <= after["_prediction"]).all()


@pytest.mark.parametrize(
    ("media", "read"),
    [
        (PARQUET, lambda body: pq.read_table(pa.BufferReader(body))),
        (ARROW, lambda b: pa.ipc.open_stream(b).read_all()),
    ],
)
def test_columns_come_back_in_their_types(media: str, read: Any, client: Client) -> None:
    found = read(post(client, media, write_table(TABLE, media), accept=media).content)
    assert found.drop_columns("_prediction").equals(TABLE)


def test_classes_come_back_with_probabilities_and_sets(iris_bundle: Bundle) -> None:
    client = Client(application(iris_bundle))
    table = pa.table({name: [1.5, 5.0] for name in iris_bundle.problem.inputs})
    answer = post(client, CSV, write_table(table, CSV), accept="text/csv", query="?interval=0.99")
    found = pd.read_csv(io.BytesIO(answer.content))
    assert set(found.columns) >= {"_prediction", "_probability_setosa", "_set"}
    assert found["_set"][0].split("|") == list(iris_bundle.problem.classes)


@pytest.mark.parametrize(
    ("media", "body", "status", "sentence"),
    [
        (CSV, b"", 400, "the first line must name the columns"),
        (CSV, b"a,a\n1,2\n", 400, "each once"),
        (CSV, b"a,b\n1\n", 400, "line 2 has 1 cells, and the first line 2"),
        (CSV, b"\xff\xfe", 400, "is not a table of the type 'text/csv'"),
        (PARQUET, b"PAR1", 400, "is not a table of the type"),
        (ARROW, b"nothing", 400, "is not a table of the type"),
        (CSV, b"area (m2),room\n80,3\n", 422, "The table has no column 'parcel'."),
    ],
)
def test_what_is_no_such_table_is_refused(
    media: str, body: bytes, status: int, sentence: str, client: Client
) -> None:
    refused = post(client, media, body)
    assert refused.status_code == status
    assert sentence in refused.json()["detail"]


@pytest.mark.parametrize(
    ("name", "values", "row", "rule", "value"),
    [
        ("rooms", [3, 99, 5], 1, "range", 99),
        ("area (m2)", [80.0, 90.0, float("nan")], 2, "type", None),
        ("area (m2)", [float("inf"), 90.0, 1.0], 0, "type", "inf"),
        ("area (m2)", ["80", "many", "90"], 1, "type", "many"),
        ("district", ["north", "west", "south"], 1, "category", "west"),
    ],
)
def test_rows_are_checked_by_the_contract(
    name: str, values: list[Any], row: int, rule: str, value: Any, client: Client
) -> None:
    table = TABLE.set_column(TABLE.column_names.index(name), name, pa.array(values))
    refused = post(client, PARQUET, write_table(table, PARQUET))
    assert refused.status_code == 422
    assert refused.json()["errors"] == [{"row": row, "field": name, "rule": rule, "value": value}]


def test_a_renamed_column_is_missed_and_its_likeness_named(client: Client) -> None:
    names = ["heights" if name == "height" else name for name in TABLE.column_names]
    refused = post(client, PARQUET, write_table(TABLE.rename_columns(names), PARQUET))
    assert refused.json()["detail"] == "The table has no column 'height'. Did you mean 'heights'?"


@pytest.mark.parametrize("media", [PARQUET, ARROW])
def test_a_few_bytes_that_hold_many_rows_are_refused_unread(media: str, client: Client) -> None:
    zeros = pa.table({name: pa.nulls(5_000_000) for name in TABLE.column_names})
    body = write_table(zeros.slice(0, 200_000) if media == ARROW else zeros, media)
    refused = post(client, media, body)
    assert refused.status_code == 422
    assert "1 to 10,000 rows" in refused.json()["detail"]


def test_explanations_add_up(client: Client) -> None:
    rows = as_json(TABLE)
    predictions = client.post("/v1/predict", json=rows).json()["predictions"]
    told = client.post("/v1/explain", json=rows).json()
    for prediction, explanation in zip(predictions, told["explanations"], strict=True):
        [output] = explanation["outputs"]
        assert output["base"] + sum(output["contributions"].values()) == pytest.approx(
            prediction["prediction"]
        )


@pytest.mark.parametrize(("kind", "most"), [("lightgbm", 100), ("random_forest", 50), ("blend", 30)])
def test_as_many_rows_are_explained_as_the_service_says(
    kind: str, most: int, iris_bundle: Bundle, tmp_path: Path
) -> None:
    fitted = make_fitted("binary", kind)
    client = Client(application(of_another(iris_bundle, fitted, tmp_path / "bundle")))
    assert client.get("/v1/model").json()["explained_rows"] == most
    explain = client.get("/openapi.json").json()["paths"]["/v1/explain"]["post"]
    assert explain["summary"] == f"Explain 1 to {most} rows"
    schema = explain["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["rows"]["maxItems"] == most
    row = {"size": None, "floor": 1, "kind": "flat", "lift": None, "built": None}
    assert len(client.post("/v1/explain", json={"rows": [row] * most}).json()["explanations"]) == most
    refused = client.post("/v1/explain", json={"rows": [row] * (most + 1)})
    assert (refused.status_code, refused.json()["errors"][0]["rule"]) == (422, "rows")
    assert refused.json()["detail"] == f"This model explains at most {most} rows at once, not {most + 1}."


def test_keys_are_asked_for_where_there_are_any(houses_bundle: Bundle) -> None:
    client = Client(
        application(houses_bundle, gate=Gate({"a": key("one", "feedback"), "b": key("two", "predict")}))
    )
    statuses = [
        client.post("/v1/predict", json=as_json(TABLE), headers=headers).status_code
        for headers in (
            {},
            {"Authorization": "Bearer one"},
            {"Authorization": "Bearer two"},
            {"Authorization": "two"},
        )
    ]
    assert statuses == [401, 403, 200, 401]
    assert client.get("/v1/model").status_code == 200


def test_only_named_origins_may_call(houses_bundle: Bundle) -> None:
    client = Client(application(houses_bundle, origins=["https://a.example"]))
    for origin, allowed in (("https://a.example", "https://a.example"), ("https://b.example", None)):
        answer = client.post("/v1/predict", json=as_json(TABLE), headers={"Origin": origin})
        assert answer.headers.get("access-control-allow-origin") == allowed
        assert (
            client.get("/v1/model", headers={"Origin": origin}).headers.get("access-control-allow-origin")
            == allowed
        )


def test_a_request_has_an_id_its_own_or_ours(client: Client) -> None:
    own = client.get("/v1/model", headers={"X-Request-ID": "abc-1"})
    assert own.headers["X-Request-ID"] == "abc-1"
    ours = [client.post("/v1/predict", json={}).headers["X-Request-ID"] for _ in range(3)]
    assert len(set(ours)) == 3
    spoilt = client.get("/v1/model", headers={"X-Request-ID": "a b"})
    assert spoilt.headers["X-Request-ID"] != "a b"
    assert own.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("query", "rule"),
    [("interval=0.2", "range"), ("interval=nan", "range"), ("interval=", "type"), ("interval=x", "type")],
)
def test_a_level_in_the_query_is_checked_like_one_in_the_body(query: str, rule: str, client: Client) -> None:
    refused = client.post(f"/v1/predict?{query}", json=as_json(TABLE))
    assert (refused.status_code, refused.json()["errors"][0]["rule"]) == (422, rule)
    assert post(client, CSV, write_table(TABLE, CSV), query=f"?{query}").status_code == 422
    inside = client.post("/v1/predict", json={**as_json(TABLE), "interval": 0.8}).json()
    assert client.post("/v1/predict?interval=0.8", json=as_json(TABLE)).json() == inside
