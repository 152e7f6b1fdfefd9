"""Whatever a body is, it is answered, or refused with what is wrong: never a failure, never a NaN."""

import asyncio
import io
import json
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.bundle import Bundle
from millrace.request_tables import ARROW, CSV, MEDIA_TYPES, PARQUET, write_table
from tests.bentos.bodies import JSON, TABLE, Body, corpus, mutants, sound
from tests.bentos.running import HOUSE
from tests.bentos.serving import Client, application, connect

CORPUS = corpus()
MUTANTS = 1500
TEXTS = (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()))
NUMBERS = (pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.bool_(), pa.null(), pa.decimal128(5, 1))
MOMENTS = (
    pa.date32(),
    pa.timestamp("ns"),
    pa.timestamp("s", "Nowhere/Such"),
    pa.time64("us"),
    pa.duration("s"),
)
OTHERS = (
    pa.binary(),
    pa.list_(pa.int8()),
    pa.struct({"a": pa.int8()}),
    pa.dictionary(pa.int8(), pa.float64()),
)
FEEDBACK = b'{"outcomes": [{"request": "r", "row": 3, "actual": 2.5}, {"key": "k", "actual": 1}]}'
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def client(houses_bundle: Bundle) -> Client:
    return Client(application(houses_bundle))


def judge(answer: httpx.Response) -> Any:
    """See that an answer is one that the service may give to a body, and return its content."""
    if answer.status_code == 200 and answer.headers["Content-Type"] in MEDIA_TYPES:
        return _table(answer)
    content = json.loads(answer.content, parse_constant=lambda word: pytest.fail(f"{word} in an answer"))
    if answer.status_code == 200:
        assert answer.headers["Content-Type"] == JSON
    else:
        assert answer.status_code in (400, 413, 415, 422), answer.text
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert content["status"] == answer.status_code
        assert len(content["detail"]) > 10
        assert "errors" in content or answer.status_code in (413, 415)
        # What was sent is repeated in part only.
        assert len(answer.content) < 2000
    return content


def _table(answer: httpx.Response) -> pa.Table:
    media = answer.headers["Content-Type"]
    if media == CSV:
        assert b"_prediction" in answer.content
        return None
    read = pq.read_table if media == PARQUET else lambda body: pa.ipc.open_stream(body).read_all()
    table = read(io.BytesIO(answer.content))
    assert np.isfinite(table["_prediction"].to_numpy()).all()
    return table


def ask(client: Client, body: Body) -> httpx.Response:
    return client.post("/v1/predict", content=body.content, headers={"Content-Type": body.media})


@pytest.mark.parametrize("body", CORPUS, ids=lambda body: body.name[:50].replace("\0", "NUL"))
def test_a_nasty_body_gets_the_answer_it_deserves(body: Body, client: Client) -> None:
    answer = ask(client, body)
    judge(answer)
    assert answer.status_code == body.status, answer.text


@pytest.mark.parametrize(
    ("path", "media"),
    [
        ("/v1/explain", JSON),
        ("/v1/feedback", JSON),
        *(("/v1/predict", media) for media in (JSON, *MEDIA_TYPES)),
    ],
)
def test_a_changed_body_is_answered_or_refused(path: str, media: str, client: Client) -> None:
    """The same changes each time, some thousands in all."""
    whole = FEEDBACK if path == "/v1/feedback" else sound()[media]
    statuses = asyncio.run(_statuses(client, path, media, whole))
    print(f"{path} {media}: {len(statuses)} bodies, {statuses.count(200)} of them answered, none failed")
    assert {400, 422} <= set(statuses)


async def _statuses(client: Client, path: str, media: str, whole: bytes) -> list[int]:
    statuses = []
    async with connect(client.app) as asking:
        for number, body in enumerate(mutants(whole, MUTANTS, seed=0)):
            accept = ("*/*", *MEDIA_TYPES)[number % 4]
            answer = await asking.post(path, content=body, headers={"Content-Type": media, "Accept": accept})
            # A process without a log has no place for what was found right.
            if (path, answer.status_code) != ("/v1/feedback", 503):
                judge(answer)
            statuses.append(answer.status_code)
    return statuses


@given(field=st.sampled_from(sorted(TABLE.column_names)), value=VALUES)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_value_in_any_field_is_answered_or_refused(client: Client, field: str, value: Any) -> None:
    content = json.dumps({"rows": [{**HOUSE, field: value}]}).encode("utf-8", "surrogatepass")
    content = judge(ask(client, Body("any", JSON, content, 0)))
    if "errors" in content and content["errors"][0]["rule"] != "json":
        assert content["errors"][0]["field"] == field


@pytest.mark.parametrize("accept", MEDIA_TYPES)
@pytest.mark.parametrize("media", [PARQUET, ARROW])
@pytest.mark.parametrize("kind", [*TEXTS, *NUMBERS, *MOMENTS, *OTHERS], ids=str)
def test_columns_of_any_type_come_back_or_are_refused(
    kind: pa.DataType, media: str, accept: str, client: Client
) -> None:
    dictionary = pa.types.is_dictionary(kind)
    note = pa.nulls(2, kind.value_type).dictionary_encode() if dictionary else pa.nulls(2, kind)
    table = TABLE.append_column("note", note)
    answer = client.post(
        "/v1/predict", content=write_table(table, media), headers={"Content-Type": media, "Accept": accept}
    )
    judge(answer)
    if answer.status_code != 200:
        assert answer.status_code == 422
        assert "note" in answer.text or "Nowhere" in answer.text
