"""The form of a contract."""

import json
import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contract import Problem
from millrace.form import Field, Form, make_form
from millrace.requests import RequestReader
from tests.millrace.cases import FEATURES, make_problem, make_table

finite = st.floats(-1e300, 1e300)


def sample(problem: Problem) -> pd.DataFrame:
    """A table as a bundle keeps it: the inputs and the target."""
    return make_table("regression")[[*problem.inputs, problem.target.name]]


def by_name(form: Form) -> dict[str, Field]:
    return {field.name: field for field in form.fields}


def one_number(row: dict[str, Any], values: list[float], **column: Any) -> Field:
    problem = make_problem(features={"x": {"type": "number", **column}}, key=None)
    return make_form(problem, row, pd.DataFrame({"x": values})).fields[0]


def test_every_feature_is_a_field_in_the_contracts_order_and_words() -> None:
    problem = make_problem()
    fields = by_name(make_form(problem, {}, sample(problem)))
    assert list(fields) == list(FEATURES)
    size = fields["size"]
    assert (size.type, size.unit, size.range, size.nullable) == ("number", "m2", (-100, 100), True)
    assert fields["kind"].categories == ("flat", "house", "boat")
    assert fields["floor"].step == 1
    assert [name for name, field in fields.items() if field.common] == ["size", "floor"]


def test_what_models_do_not_learn_from_is_told_apart_and_may_be_null() -> None:
    features = {**FEATURES, "floor": {"type": "integer", "input": False}, "parcel": {"type": "integer"}}
    problem = make_problem(features=features, key="parcel")
    fields = by_name(make_form(problem, {}, sample(problem)))
    assert {name: field.role for name, field in fields.items() if field.role != "input"} == {
        "floor": "checked",
        "parcel": "name",
        "id": "name",
    }
    assert all(field.nullable for field in fields.values() if field.role != "input")
    assert not by_name(make_form(make_problem(), {}, pd.DataFrame()))["floor"].nullable


def test_common_values_are_98_percent_of_the_sample() -> None:
    assert one_number({}, [float(i) for i in range(101)]).common == (1, 99)
    problem = make_problem()
    low, high = make_form(problem, {}, sample(problem)).target_common or (0, 0)
    assert sample(problem)["y"].between(low, high).mean() == pytest.approx(0.98, abs=0.01)


@pytest.mark.parametrize("values", [[], [3.0], [3.0, 3.0], [float("nan")]])
def test_a_sample_that_varies_in_nothing_says_nothing(values: list[float]) -> None:
    field = one_number({}, values)
    assert field.common is None
    assert field.step is None
    assert one_number({}, values, range=[0, 10]).step == pytest.approx(0.1)


@given(st.lists(finite, min_size=2, max_size=20))
def test_a_step_is_a_power_of_ten_with_a_hundred_or_more_in_the_span(values: list[float]) -> None:
    field = one_number({}, values)
    if field.common is None or field.step is None:
        return
    steps = (field.common[1] - field.common[0]) / field.step
    assert 99.9 < steps < 1001
    assert math.log10(field.step) == pytest.approx(round(math.log10(field.step)), abs=1e-9)


@given(st.lists(finite, min_size=2, max_size=20), finite, finite, st.floats(0, 1))
def test_an_example_is_near_the_row_and_still_in_the_range(
    values: list[float], one: float, other: float, share: float
) -> None:
    low, high = sorted((one, other))
    value = min(max(low + share * (high - low), low), high)
    field = one_number({"x": value}, values, **({"range": [low, high]} if low < high else {}))
    assert isinstance(field.example, float)
    assert low <= field.example <= high or low == high
    assert abs(field.example - value) <= (field.step or 0) / 100 + abs(value) * 1e-15


def test_the_example_is_a_row_that_the_service_takes() -> None:
    problem = make_problem()
    table = sample(problem)[list(problem.inputs)]
    records = json.loads(table.to_json(orient="records", date_format="iso", date_unit="us"))
    reader = RequestReader(problem)
    for row in records:
        form = make_form(problem, row, sample(problem))
        example = {field.name: field.example for field in form.fields if field.role == "input"}
        reader.read(json.dumps({"rows": [example]}).encode())
        others = [name for name in problem.inputs if name not in ("size", "floor")]
        assert {name: example[name] for name in others} == {name: row[name] for name in others}


def test_a_form_is_json_and_comes_back() -> None:
    problem = make_problem()
    form = make_form(
        problem, {"size": 1.0, "lift": True, "kind": "flat", "built": "2020-01-01"}, sample(problem)
    )
    assert Form.model_validate_json(form.model_dump_json()) == form
