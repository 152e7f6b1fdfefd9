"""What the contract allows is read as training reads it; all else is refused by row, field and rule."""

import dataclasses
import json
from datetime import datetime
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from millrace.bundle import Bundle, FittedModel
from millrace.casting import cast
from millrace.contract import LARGEST, Column, Problem
from millrace.features import encode_inputs
from millrace.intervals import UNKNOWN
from millrace.models import TrainingRows
from millrace.requests import MAX_ROWS, InvalidRequest, RequestReader, write
from millrace.scoring import Scorer
from tests.millrace.cases import FEATURES, KINDS, fit, make_fitted, make_problem, make_table

Row = dict[str, Any]
HOUSE: Row = {"area (m2)": 80, "rooms": 3, "district": "north", "new": False}


@pytest.fixture(scope="session")
def reader(houses: Problem) -> RequestReader:
    return RequestReader(houses)


def body(*rows: Row) -> bytes:
    return json.dumps({"rows": rows}).encode()


def refused(reader: RequestReader, content: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        reader.read(content)
    return caught.value


def allowed(column: Column) -> st.SearchStrategy[Any]:
    """JSON values that the contract allows in a column."""
    low, high = column.range or (None, None)
    largest = LARGEST.get(column.type, 0)
    low, high = (-largest if low is None else low), (largest if high is None else high)
    values: st.SearchStrategy[Any] = {
        "number": st.floats(low, high, allow_nan=False, allow_infinity=False) | st.integers(11, 12),
        "integer": st.integers(int(low), int(high)),
        "category": st.sampled_from(column.categories or ("",)),
        "boolean": st.booleans(),
        "datetime": st.datetimes(datetime(1700, 1, 1), datetime(2250, 1, 1)).map(datetime.isoformat)
        | st.datetimes(datetime(1700, 1, 2), datetime(2250, 1, 1)).map(lambda m: m.isoformat() + "+05:30")
        | st.dates(datetime(1700, 1, 1).date(), datetime(2250, 1, 1).date()).map(str),
    }[column.type]
    return values | st.none() if column.nullable else values


def forbidden(column: Column) -> st.SearchStrategy[Any]:
    """JSON values that the contract does not allow in a column."""
    low, high = column.range or (None, None)
    wrong: list[st.SearchStrategy[Any]] = [st.just([]), st.just({}), st.just([1]), st.just({"a": [1]})]
    if not column.nullable:
        wrong.append(st.none())
    if column.type in ("number", "integer"):
        wrong += [st.booleans(), st.text(), st.floats(allow_nan=False, allow_infinity=False).map(str)]
        if low is not None:
            wrong.append(st.floats(max_value=low, exclude_max=True, allow_infinity=False))
        if high is not None:
            wrong.append(st.floats(min_value=high, exclude_min=True, allow_infinity=False))
    if column.type == "integer":
        wrong.append(st.floats(1, 20).filter(lambda value: value % 1 != 0))
    if column.type == "category":
        wrong += [
            st.text().filter(lambda value: value not in column.categories),
            st.integers(),
            st.booleans(),
        ]
    if column.type == "boolean":
        wrong += [st.sampled_from(["true", "false", "yes"]), st.integers(0, 1)]
    if column.type == "datetime":
        wrong += [st.integers(), st.booleans(), st.sampled_from(["", "now", "2024-13-01", "01/02/2024"])]
    return st.one_of(wrong)


@st.composite
def good_rows(draw: st.DrawFn, problem: Problem) -> list[Row]:
    strategies = {name: allowed(column) for name, column in problem.inputs.items()}
    optional = [name for name, column in problem.inputs.items() if column.nullable]
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        row = {name: draw(values) for name, values in strategies.items()}
        left_out = draw(st.sets(st.sampled_from(optional)))
        rows.append({name: value for name, value in row.items() if name not in left_out})
    return rows


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_what_the_contract_allows_becomes_the_matrix_of_training(
    data: st.DataObject, houses: Problem, houses_bundle: Bundle, reader: RequestReader
) -> None:
    rows = data.draw(good_rows(houses))
    state = houses_bundle.fitted.state
    served = reader.read(body(*rows)).matrix
    raw = {name: [row.get(name) for row in rows] for name in houses.columns}
    raw["price"] = [1.0] * len(rows)
    numbers = {name: pa.float64() for name, column in houses.columns.items() if column.type == "integer"}
    table = pa.table({name: pa.array(values, numbers.get(name)) for name, values in raw.items()})
    trained = encode_inputs(cast(table, houses, "test"), state.inputs)
    assert served.tobytes() == trained.tobytes()


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_forbidden_value_is_refused_by_row_and_field(
    data: st.DataObject, houses: Problem, reader: RequestReader
) -> None:
    rows = data.draw(good_rows(houses))
    row = data.draw(st.integers(0, len(rows) - 1))
    field = data.draw(st.sampled_from(list(houses.inputs)))
    rows[row][field] = data.draw(forbidden(houses.inputs[field]))
    error = refused(reader, body(*rows))
    assert (error.status, error.row, error.field) == (422, row, field)
    assert error.rule in ("type", "range", "category")
    assert f"Row {row}: '{field}' must be " in error.message


@settings(deadline=None, max_examples=60)
@given(data=st.data(), name=st.text(st.characters(exclude_categories=["Cs"])))
def test_an_unknown_field_is_refused_by_row_and_name(
    data: st.DataObject, name: str, houses: Problem, reader: RequestReader
) -> None:
    assume(name not in houses.features)
    rows = data.draw(good_rows(houses))
    rows[-1][name] = 1
    error = refused(reader, body(*rows))
    assert (error.status, error.row, error.field, error.rule) == (422, len(rows) - 1, name[:60], "unknown")


@settings(deadline=None, max_examples=60)
@given(content=st.binary())
def test_bytes_are_read_or_refused_but_never_fail(content: bytes, reader: RequestReader) -> None:
    assert refused(reader, content).status in (400, 422)


def test_an_omitted_required_field_is_named(reader: RequestReader) -> None:
    error = refused(reader, body(HOUSE, HOUSE, {k: HOUSE[k] for k in HOUSE if k != "new"}))
    assert (error.row, error.field, error.rule) == (2, "new", "required")
    assert error.message == "Row 2: 'new' is missing."


@pytest.mark.parametrize(
    ("field", "value", "rule", "message"),
    [
        ("area (m2)", "80", "type", "Row 0: 'area (m2)' must be a number from 10 to 1000, not \"80\"."),
        ("area (m2)", True, "type", "Row 0: 'area (m2)' must be a number from 10 to 1000, not true."),
        ("area (m2)", 9.5, "range", "Row 0: 'area (m2)' must be a number from 10 to 1000, not 9.5."),
        ("height", 13, "range", "Row 0: 'height' must be a number of at most 12.5, or null, not 13."),
        ("rooms", 2.5, "type", "Row 0: 'rooms' must be an integer from 1 to 30, not 2.5."),
        (
            "heating",
            "oil",
            "category",
            'Row 0: \'heating\' must be one of "gas", "wood", or null, not "oil".',
        ),
        ("garden", 1, "type", "Row 0: 'garden' must be true or false, or null, not 1."),
        ("sold", "now", "type", "Row 0: 'sold' must be an ISO 8601 date or date-time, or null, not \"now\"."),
        ("deed", 7, "type", "Row 0: 'deed' must be text, or null, not 7."),
    ],
)
def test_the_message_says_what_to_send(
    reader: RequestReader, field: str, value: Any, rule: str, message: str
) -> None:
    error = refused(reader, body({**HOUSE, field: value}))
    assert (error.rule, error.value, error.message) == (rule, value, message)


def test_an_unknown_field_brings_the_nearest_name(reader: RequestReader) -> None:
    error = refused(reader, body({**HOUSE, "aera (m2)": 1}))
    assert error.message == "Row 0: there is no field 'aera (m2)'. Did you mean 'area (m2)'?"


def test_an_error_repeats_little_of_what_was_sent(reader: RequestReader) -> None:
    for row in (
        {**HOUSE, "x" * 10_000: 1},
        {**HOUSE, "heating": "x" * 10_000},
        {**HOUSE, "new": [1] * 10_000},
    ):
        error = refused(reader, body(row))
        assert len(error.message + str(error.field) + str(error.value)) < 400


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_json_does_not_know_is_malformed(reader: RequestReader, number: str) -> None:
    error = refused(
        reader, body({**HOUSE, "height": 1}).replace(b'"height": 1', f'"height": {number}'.encode())
    )
    assert (error.status, error.rule) == (400, "json")
    assert "a missing value is null" in error.message


def test_a_number_too_large_for_a_float_is_out_of_range(reader: RequestReader) -> None:
    error = refused(reader, body({**HOUSE, "floor": 7}).replace(b'"floor": 7', b'"floor": 1e999'))
    assert (error.rule, error.value) == ("range", "1e999")


@pytest.mark.parametrize(
    ("content", "status", "rule"),
    [
        (b"", 400, "json"),
        (b'{"rows": [', 400, "json"),
        (b"\xff", 400, "json"),
        (b"[]", 422, "type"),
        (b"{}", 422, "type"),
        (b'{"rows": [], "more": 1}', 422, "rows"),
        (b'{"rows": []}', 422, "rows"),
        (body(*[HOUSE] * (MAX_ROWS + 1)), 422, "rows"),
        (b'{"rows": [1]}', 422, "type"),
        (b'{"rows": [{"area (m2)": ' + b"[" * 100_000, 422, "type"),
        (b'{"rows": [{"area (m2)": "x"},,', 422, "type"),
    ],
)
def test_a_body_of_another_form_is_refused(
    reader: RequestReader, content: bytes, status: int, rule: str
) -> None:
    error = refused(reader, content)
    assert (error.status, error.rule) == (status, rule)


def test_a_body_is_kept_as_it_came_but_for_what_says_nothing(reader: RequestReader) -> None:
    short = body(HOUSE)
    assert reader.read(short).body is short
    spaces, again = b"{" + b" " * 10_000, b'{"rooms": 3, ' + b'"new": true, ' * 1_000
    parts = [short.replace(b"{", spaces, 1), short.replace(b'{"area', again + b'"area', 1)]
    for long in parts:
        kept = reader.read(long).body
        assert json.loads(kept) == json.loads(short)
        assert len(kept) <= len(short)


def test_ids_and_the_key_are_taken_and_not_used(reader: RequestReader, houses: Problem) -> None:
    sent = {**HOUSE, "parcel": "7", "deed": None}
    asked = reader.read(body(sent, HOUSE))
    assert asked.matrix.shape == (2, len(houses.inputs))
    assert list(asked.keys) == ["7", None]
    assert {name: values[0] for name, values in reader.columns([asked.body]).items()}.items() >= sent.items()


def test_what_is_no_input_may_be_sent_and_is_not_used() -> None:
    kept_out = {name: FEATURES[name] | {"input": False} for name in ("kind", "lift", "floor")}
    reader = RequestReader(make_problem(features=FEATURES | kept_out))
    sent = {"size": 1.5, "built": None, "kind": "flat", "lift": True, "floor": 3}
    found = reader.read(body(sent, {"size": 1.5}))
    np.testing.assert_array_equal(found.matrix, [[1.5, np.nan]] * 2)
    assert list(found.keys) == [None, None]
    fault = refused(reader, body(sent | {"floor": "third"}))
    assert "an integer, or null" in str(fault)


def test_the_schema_is_the_contract(reader: RequestReader) -> None:
    row = reader.schema()["$defs"]["Row"]
    assert row["additionalProperties"] is False
    assert row["required"] == ["area (m2)", "rooms", "district", "new"]
    area = {"type": "number", "minimum": 10, "maximum": 1000, "description": "living area [m2]"}
    assert row["properties"]["area (m2)"] == area
    assert row["properties"]["rooms"]["multipleOf"] == 1
    assert {"type": "string", "format": "date-time"} in row["properties"]["sold"]["anyOf"]


def test_classes_are_answered_with_their_probabilities(iris_bundle: Bundle) -> None:
    answer = write(iris_bundle.fitted, np.array([[0.1, 0.7, 0.2]]))
    probabilities = {"setosa": 0.1, "versicolor": 0.7, "virginica": 0.2}
    assert answer == [{"prediction": "versicolor", "probabilities": probabilities}]


@pytest.mark.parametrize(("threshold", "expected"), [(0.5, "false"), (0.2, "true"), (0.3, "true")])
def test_of_two_classes_the_second_is_answered_from_the_threshold_on(threshold: float, expected: str) -> None:
    fitted = dataclasses.replace(make_fitted("binary", "linear"), threshold=threshold)
    answer = write(fitted, np.array([[0.7, 0.3]]))
    assert answer == [{"prediction": expected, "probabilities": {"false": 0.7, "true": 0.3}}]


@cache
def fitted_once(kind: str) -> FittedModel:
    """A model whose column `kind` may hold what training never saw, though it may not be null."""
    column = {"type": "category", "categories": ["flat", "house", "boat"], "unseen": "missing"}
    problem = make_problem(features=FEATURES | {"kind": column})
    table = make_table().assign(kind=np.resize(np.array(["flat", "house", "tent"], dtype=object), 240))
    rows = TrainingRows.of(table, problem)
    return FittedModel(problem, rows.state, fit(kind, rows))


served = st.fixed_dictionaries(
    {
        "size": st.none() | st.floats(-100, 100),
        "floor": st.integers(-9, 99),
        "kind": st.sampled_from(["flat", "house", "boat", "tent", "castle", "Flat"]),
        "lift": st.none() | st.booleans(),
        "built": st.none() | st.datetimes(datetime(1990, 1, 1), datetime(2030, 1, 1)).map(datetime.isoformat),
    }
)


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=25)
@given(rows=st.lists(served, min_size=1, max_size=8))
def test_nulls_and_unseen_categories_are_served_row_by_row_as_in_a_batch(kind: str, rows: list[Row]) -> None:
    fitted = fitted_once(kind)
    reader = RequestReader(fitted.problem)
    raw = {name: [row.get(name) for row in rows] for name in fitted.problem.columns}
    raw |= {"id": [str(i) for i in range(len(rows))], "y": [1.0] * len(rows)}
    batch = fitted.predict(cast(pa.table(raw), fitted.problem, "test"))
    scorer = Scorer(fitted)
    single = np.concatenate([scorer.predict(reader.read(body(row)).matrix) for row in rows])
    assert np.isfinite(single).all()
    np.testing.assert_allclose(single, batch, rtol=1e-12, atol=1e-12)


def test_a_column_of_unseen_categories_takes_text_and_nothing_else() -> None:
    fitted = fitted_once("linear")
    reader, row = RequestReader(fitted.problem), {"floor": 1, "kind": "castle"}
    seen, unseen, tent = (
        Scorer(fitted).predict(reader.read(body({**row, "kind": kind})).matrix)[0]
        for kind in ("flat", "castle", "tent")
    )
    assert seen != unseen
    assert tent == unseen
    for wrong in (None, 7):
        error = refused(reader, body({**row, "kind": wrong}))
        assert (error.status, error.field, error.rule) == (422, "kind", "type")
        assert '"boat" (other text counts as missing)' in error.message
    schema = reader.schema()["$defs"]["Row"]["properties"]["kind"]
    assert schema == {"type": "string", "examples": ["flat", "house", "boat"]}


def test_an_answer_is_never_nan(houses_bundle: Bundle) -> None:
    assert write(houses_bundle.fitted, np.array([2.5])) == [{"prediction": 2.5}]
    with pytest.raises(ValueError, match="not a finite number"):
        write(houses_bundle.fitted, np.array([2.5, np.nan]))


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99, 1, None])
def test_the_level_stands_beside_the_rows(reader: RequestReader, level: float | None) -> None:
    content = json.dumps({"interval": level, "rows": [HOUSE]}).encode()
    if level == 1:
        assert refused(reader, content).rule == "range"
    else:
        assert reader.read(content).interval == level
    assert reader.read(body(HOUSE)).interval is None


@pytest.mark.parametrize(
    ("sent", "rule", "value"),
    [
        ("0.995", "range", 0.995),
        ("90", "range", 90),
        ("-1", "range", -1),
        ("true", "type", True),
        ('"0.9"', "type", "0.9"),
        ("[0.9]", "type", "[0.9]"),
    ],
)
def test_a_level_that_is_none_is_refused(reader: RequestReader, sent: str, rule: str, value: Any) -> None:
    error = refused(reader, body(HOUSE).replace(b"{", f'{{"interval": {sent}, '.encode(), 1))
    assert error.message == f"'interval' must be a number from 0.5 to 0.99, or null, not {sent}."
    assert (error.status, error.rule, error.row, error.field) == (422, rule, None, "interval")
    assert error.value == value


def test_the_schema_tells_of_the_level(reader: RequestReader) -> None:
    request = reader.schema()["$defs"]["Request"]
    number = next(kind for kind in request["properties"]["interval"]["anyOf"] if kind["type"] == "number")
    assert (number["minimum"], number["maximum"]) == (0.5, 0.99)
    assert "the truth is to lie" in number["description"]
    assert request["required"] == ["rows"]


def test_an_answer_has_the_interval_of_the_model(houses_bundle: Bundle) -> None:
    fitted, values = houses_bundle.fitted, np.array([90_000.0, 500_000.0])
    answers = write(fitted, values, 0.8)
    assert [answer["interval"] for answer in answers] == fitted.bounds(values, 0.8).tolist()
    assert all(
        low <= answer["prediction"] <= high for answer in answers for low, high in [answer["interval"]]
    )
    unknown = dataclasses.replace(fitted, intervals=UNKNOWN)
    assert write(unknown, values, 0.8)[0] == {"prediction": 90_000.0, "interval": [None, None]}


def test_an_answer_has_the_set_of_the_model(iris_bundle: Bundle) -> None:
    fitted, chances = iris_bundle.fitted, np.array([[0.9, 0.05, 0.05], [0.4, 0.35, 0.25]])
    answers = write(fitted, chances, 0.95)
    assert [answer["set"] for answer in answers] == fitted.sets(chances, 0.95)
    assert all(answer["prediction"] in answer["set"] for answer in answers)
    assert all(list(answer) == ["prediction", "probabilities", "set"] for answer in answers)
