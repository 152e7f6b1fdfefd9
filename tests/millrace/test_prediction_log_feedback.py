"""Outcomes are read as the target allows, kept, and put beside the predictions they are of."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contract import Task
from millrace.prediction_log import (
    FeedbackReader,
    LogSettings,
    Outcome,
    Outcomes,
    PredictionLog,
    count_outcomes,
    read_labelled,
)
from millrace.requests import MAX_ROWS, InvalidRequest
from tests.millrace.cases import FEATURES, TASKS, make_problem
from tests.millrace.logged import HOME, make_entry

PRICE = {"name": "y", "type": "number", "range": [0, 100]}
PROBLEM = make_problem(target=PRICE)
READER = FeedbackReader(PROBLEM)


@pytest.fixture(params=["sqlite", "parquet"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A log of each kind, where nothing is yet."""
    return f"sqlite:///{tmp_path}/log.db" if request.param == "sqlite" else str(tmp_path)


def body(*outcomes: Any) -> bytes:
    return json.dumps({"outcomes": outcomes}).encode()


def refused(content: bytes, reader: FeedbackReader = READER) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        reader.read(content)
    return caught.value


def write(uri: str, *items: Any, problem: Any = PROBLEM) -> None:
    log = PredictionLog(LogSettings(uri=uri), problem)
    assert all(log.offer(item) for item in items)
    assert log.close(60).lost == {}


def test_an_outcome_is_of_a_row_or_of_a_key() -> None:
    sent = body(
        {"request": "r", "row": 3, "actual": 5}, {"request": "r", "actual": 1.5}, {"key": "k", "actual": 0}
    )
    assert READER.read(sent) == [Outcome(5.0, "r", 3), Outcome(1.5, "r", 0), Outcome(0.0, key="k")]


@pytest.mark.parametrize(
    ("task", "right", "wrong", "words"),
    [
        ("regression", 2, "2", "a number"),
        ("binary", True, "true", "true or false"),
        ("multiclass", "low", "lower", 'one of "low", "middle", "high"'),
    ],
)
def test_the_target_says_what_an_outcome_may_be(task: Task, right: Any, wrong: Any, words: str) -> None:
    reader = FeedbackReader(make_problem(task))
    assert reader.read(body({"key": "k", "actual": right}))[0].actual == right
    fault = refused(body({"key": "k", "actual": right}, {"key": "k", "actual": wrong}), reader)
    assert fault.message == f"Outcome 1: 'actual' must be {words}, not {json.dumps(wrong)}."
    assert (fault.status, fault.row, fault.field, fault.value) == (422, 1, "actual", wrong)
    assert fault.rule == ("category" if task == "multiclass" else "type")
    assert refused(body({"key": "k", "actual": None}), reader).field == "actual"


@pytest.mark.parametrize(
    ("outcome", "rule", "message"),
    [
        (
            {"key": "k", "actual": 101},
            "range",
            "'actual' must be a number from 0 to 100, not 101.",
        ),
        ({"key": "k"}, "required", "Outcome 0: 'actual' is missing."),
        ({"actual": 1}, "required", "Outcome 0: name either a 'request' and its 'row', or a 'key'."),
        (
            {"actual": 1, "key": "k", "request": "r"},
            "required",
            "Outcome 0: name either a 'request' and its 'row', or a 'key'.",
        ),
        ({"actual": 1, "key": ""}, "range", "'key' must be text of 1 to 200 characters, or null, not \"\"."),
        (
            {"actual": 1, "request": 7},
            "type",
            "'request' must be text of 1 to 200 characters, or null, not 7.",
        ),
        (
            {"actual": 1, "request": "r", "row": -1},
            "range",
            "'row' must be an integer from 0 to 9,999, not -1.",
        ),
        ({"actual": 1, "request": "r", "row": 0.5}, "type", "'row' must be an integer"),
        (
            {"actual": 1, "keys": "k"},
            "unknown",
            "there is no field 'keys'; there are 'actual', 'request', 'row', 'key'.",
        ),
        (7, "type", "Outcome 0 must be an object of fields."),
    ],
)
def test_the_message_says_what_to_send(outcome: Any, rule: str, message: str) -> None:
    fault = refused(body(outcome))
    assert (fault.status, fault.rule, fault.row) == (422, rule, 0)
    assert message in fault.message


@pytest.mark.parametrize(
    ("content", "status", "rule"),
    [
        (b"", 400, "json"),
        (b'{"outcomes": [{"key": "k", "actual": NaN}]}', 400, "json"),
        (b"\xff", 400, "json"),
        (b"[]", 422, "type"),
        (body(), 422, "rows"),
        (body(*[{"key": "k", "actual": 1}] * (MAX_ROWS + 1)), 422, "rows"),
    ],
)
def test_a_body_of_another_form_is_refused(content: bytes, status: int, rule: str) -> None:
    fault = refused(content)
    assert (fault.status, fault.rule) == (status, rule)


@given(
    content=st.binary() | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(lambda v: body(v))
)
def test_bytes_are_read_or_refused_but_never_fail(content: bytes) -> None:
    assert refused(content).status in (400, 422)


@pytest.mark.parametrize("private", [True, False])
def test_without_a_key_that_is_logged_outcomes_are_by_request(private: bool) -> None:
    features = FEATURES | {"id": {"type": "id", "private": private}}
    reader = FeedbackReader(make_problem(features=features, key="id" if private else None))
    fault = refused(body({"key": "k", "actual": 1}), reader)
    assert fault.message == "Outcome 0: there is no field 'key'; there are 'actual', 'request', 'row'."
    assert "name the 'request'" in refused(body({"actual": 1}), reader).message


def test_the_schema_is_the_targets() -> None:
    outcome = READER.schema()["$defs"]["Outcome"]
    assert outcome["required"] == ["actual"]
    assert outcome["additionalProperties"] is False
    assert outcome["properties"]["actual"] == {"type": "number", "minimum": 0.0, "maximum": 100.0}


def labels(uri: str, problem: Any = PROBLEM, **times: Any) -> dict[tuple[str, int], Any]:
    return {
        (row["_request"], row["_row"]): row["y"]
        for table in read_labelled(uri, problem, size=2, **times)
        for row in table.to_dict("records")
    }


def test_the_last_outcome_counts_and_that_of_a_row_before_that_of_a_key(uri: str) -> None:
    rows = [HOME | {"id": name} for name in ("ann", "bob", "cid", "dan")]
    now = time.time()
    first = [Outcome(1.0, "r", 0), Outcome(2.0, "r", 0), Outcome(3.0, key="ann"), Outcome(4.0, key="bob")]
    later = [Outcome(5.0, key="bob"), Outcome(6.0, key="cid"), Outcome(7.0, "r", 9), Outcome(8.0, key="eve")]
    # The earlier ones come last, as from another process.
    write(uri, make_entry("r", *rows, problem=PROBLEM), Outcomes(now + 1, later), Outcomes(now, first))
    assert labels(uri) == {("r", 0): 2.0, ("r", 1): 5.0, ("r", 2): 6.0}
    # Replaced: 1 and 4. Unmatched: row 9, and eve.
    assert count_outcomes(uri, PROBLEM, size=3) == (8, 2, 4, 2)


def test_an_outcome_before_its_prediction_is_kept_until_there_is_one(uri: str) -> None:
    write(uri, Outcomes(time.time(), [Outcome(1.0, key="home 1")]))
    assert count_outcomes(uri, PROBLEM) == (1, 0, 0, 1)
    assert labels(uri) == {}
    write(uri, make_entry("r", problem=PROBLEM))
    assert count_outcomes(uri, PROBLEM) == (1, 0, 1, 0)
    assert labels(uri) == {("r", 0): 1.0}
    assert labels(uri, since=datetime(2200, 1, 1, tzinfo=UTC)) == {}


@pytest.mark.parametrize("task", TASKS)
def test_outcomes_are_read_in_the_targets_type(uri: str, task: Task) -> None:
    problem = make_problem(task)
    actual: Any = {"regression": 2.0, "binary": False, "multiclass": "high"}[task]
    answer = {"prediction": json.dumps(actual) if task == "binary" else actual}
    write(
        uri,
        make_entry("r", problem=problem, answers=[answer]),
        Outcomes(time.time(), FeedbackReader(problem).read(body({"request": "r", "actual": actual}))),
        problem=problem,
    )
    (table,) = read_labelled(uri, problem)
    assert table["y"].tolist() == [actual]
    assert (
        str(table["y"].dtype) == {"regression": "float64", "binary": "boolean", "multiclass": "object"}[task]
    )
