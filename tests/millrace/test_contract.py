"""The contract: what it accepts, what it refuses, and how it says so."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from millrace.contract import (
    OWN_COLUMNS,
    Column,
    Problem,
    Split,
    Target,
    load_problem,
    parse_problem,
    problem_names,
)
from millrace.errors import UserError
from tests.millrace.cases import FEATURES, TARGETS, make_problem

# PyYAML writes the line end U+0085 as it is and reads it as a line feed.
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x85"), min_size=1, max_size=12)
column_names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters='"\\\x85', min_codepoint=32),
    min_size=1,
    max_size=12,
)
finite = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def columns(
    draw: st.DrawFn, kinds: tuple[str, ...] = ("number", "integer", "category", "boolean", "datetime")
) -> dict[str, Any]:
    """A column of any type with whatever its type allows."""
    kind = draw(st.sampled_from(kinds))
    column: dict[str, Any] = {
        "type": kind,
        "unit": draw(names),
        "meaning": draw(names),
        "nullable": draw(st.booleans()),
    }
    if kind in ("number", "integer"):
        low, high = draw(st.none() | finite), draw(st.none() | finite)
        assume(low is None or high is None or low < high)
        column["range"] = draw(st.sampled_from([None, (low, high)]))
    if kind in ("number", "integer", "datetime"):
        column["monotonic"] = draw(st.sampled_from([None, "increasing", "decreasing"]))
    column["sensitive"] = draw(st.booleans())
    if kind == "category":
        texts = names.filter(lambda text: text == text.strip())
        column["categories"] = draw(st.lists(texts, min_size=2, max_size=5, unique=True))
    return column


@st.composite
def problems_of_any_shape(draw: st.DrawFn) -> dict[str, Any]:
    """A valid regression problem with any column names, one of them perhaps the key."""
    features = draw(st.dictionaries(column_names, columns(), min_size=1, max_size=5))
    target = draw(columns(kinds=("number", "integer"))) | {"name": draw(column_names), "nullable": False}
    target |= {"monotonic": None, "sensitive": False}
    keyed = draw(st.none() | column_names)
    if keyed is not None:
        features[keyed] = {"type": "id"}
    assume(target["name"] not in features)
    assume(any(column["type"] != "id" for column in features.values()))
    assume(not any(name.startswith("_") for name in [*features, target["name"]]))
    return {
        "name": "any",
        "title": draw(names),
        "task": "regression",
        "source": draw(names),
        "target": target,
        "features": features,
        "key": keyed,
        "split": {"holdout": draw(st.floats(0.01, 0.89)), "seed": draw(st.integers())},
    }


@given(problems_of_any_shape())
def test_a_problem_survives_yaml(tmp_path_factory: pytest.TempPathFactory, parts: dict[str, Any]) -> None:
    problem = parse_problem(parts)
    folder = tmp_path_factory.mktemp("problems")
    text = yaml.safe_dump(problem.model_dump(mode="json"), allow_unicode=True, sort_keys=False)
    (folder / "any.yaml").write_text(text, encoding="utf-8")
    again = load_problem("any", folder)
    assert again == problem
    assert list(again.features) == list(problem.features)


@given(problems_of_any_shape())
def test_a_problem_survives_json(parts: dict[str, Any]) -> None:
    problem = parse_problem(parts)
    assert parse_problem(problem.model_dump(mode="json")) == problem
    assert Problem.model_validate_json(problem.model_dump_json()) == problem


@given(st.data())
def test_a_wrong_key_anywhere_names_the_nearest_key_the_file_and_the_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    # Features named like a column's own keys must not confuse the search for the nearest one.
    parts = make_problem(
        features={"type": {"type": "number"}, "range": {"type": "integer"}}, key=None
    ).model_dump(mode="json")
    places: list[tuple[type, dict[str, Any]]] = [
        (Problem, parts),
        (Target, parts["target"]),
        (Split, parts["split"]),
        (Column, parts["features"]["type"]),
        (Column, parts["features"]["range"]),
    ]
    model, place = data.draw(st.sampled_from(places))
    valid: str = data.draw(st.sampled_from(sorted(model.model_fields)))
    at = data.draw(st.integers(0, len(valid) - 1))
    wrong = valid[:at] + valid[at] + valid[at:]
    place[wrong] = 1
    path = tmp_path_factory.mktemp("problems") / "homes.yaml"
    text = yaml.safe_dump(parts, sort_keys=data.draw(st.booleans()))
    path.write_text(text)
    line = 1 + next(
        i for i, content in enumerate(text.splitlines()) if content.strip().startswith(f"{wrong}:")
    )
    with pytest.raises(UserError) as caught:
        load_problem("homes", path.parent)
    assert f"{path}, line {line}: unknown key" in str(caught.value)
    assert f"Did you mean '{valid}'?" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"target": {"name": "size", "type": "number"}}, "also listed as a feature"),
        ({"target": TARGETS["regression"] | {"nullable": True}}, "target cannot be nullable"),
        (
            {"target": {"name": "y", "type": "category", "categories": ["a", "b"]}},
            "regression target is of type",
        ),
        ({"target": {"name": "y", "type": "datetime"}}, "regression target is of type"),
        ({"task": "binary", "target": TARGETS["multiclass"]}, "binary target has 2 categories, not 3"),
        ({"task": "multiclass", "target": TARGETS["binary"]}, "multiclass target is of type category"),
        (
            {"task": "multiclass", "target": {"name": "y", "type": "category", "categories": ["a", "b"]}},
            "with 2 the task is binary",
        ),
        ({"key": "flor"}, "unknown key column 'flor'. Did you mean 'floor'?"),
        ({"features": {"id": {"type": "id"}}}, "no feature is left"),
        ({"features": {"id": {"type": "number"}}}, "no feature is left"),
        ({"features": {}, "key": None}, "at least 1 item"),
        ({"features": FEATURES | {"kind": FEATURES["kind"] | {"monotonic": "increasing"}}}, "not category"),
        (
            {"features": FEATURES | {"size": {"type": "number", "monotonic": "up"}}},
            "'increasing' or 'decreasing'",
        ),
        (
            {"features": FEATURES | {"size": {"type": "number", "monotonic": "decreasing", "input": False}}},
            "'monotonic' is for inputs",
        ),
        (
            {
                "task": "multiclass",
                "target": TARGETS["multiclass"],
                "features": FEATURES | {"size": {"type": "number", "monotonic": "decreasing"}},
            },
            "'monotonic' of 'size': of several classes none is the direction",
        ),
        ({"target": TARGETS["regression"] | {"monotonic": "increasing"}}, "are for features"),
        ({"target": TARGETS["regression"] | {"sensitive": True}}, "are for features"),
        ({"target": TARGETS["regression"] | {"input": False}}, "are for features"),
        ({"features": FEATURES | {"id": {"type": "id", "sensitive": True}}}, "an id makes one of each row"),
        ({"features": FEATURES | {"id": {"type": "integer", "sensitive": True}}}, "the key 'id' cannot be"),
        (
            {"features": FEATURES | {"id": {"type": "integer", "monotonic": "increasing"}}},
            "the key 'id' cannot be",
        ),
        ({"features": {"size": {"type": "number", "input": False}}, "key": None}, "no feature is left"),
        ({"name": "Homes"}, "pattern"),
        ({"split": {"holdout": 0}}, "greater than 0"),
        ({"split": {"holdout": 0.9}}, "less than 0.9"),
        ({"split": {"by": "hash"}}, "'rows', 'group' or 'time'"),
        ({"split": {"by": "group"}}, "'by: group' needs a 'column'"),
        ({"split": {"column": "id"}}, "'column' goes with 'by: group' or 'by: time'"),
        (
            {"split": {"by": "group", "column": "idd"}},
            "unknown split column 'idd'. Did you mean 'id'?",
        ),
        ({"split": {"by": "time", "column": "y"}}, "unknown split column 'y'"),
        ({"split": {"by": "time", "column": "id"}}, "split's column 'id' is of type id; a time is a"),
        ({"split": {"by": "time", "column": "built"}}, "split's column 'built' cannot be nullable"),
        ({"target": TARGETS["regression"] | {"transform": "log"}}, "'range' starts at 0 or above"),
        (
            {"target": TARGETS["regression"] | {"transform": "log", "range": [-1, None]}},
            "'range' starts at 0 or above",
        ),
        ({"target": TARGETS["regression"] | {"transform": "sqrt"}}, "'log'"),
        (
            {"task": "binary", "target": TARGETS["binary"] | {"transform": "log"}},
            "'transform' is for regression, not binary",
        ),
        (
            {"task": "multiclass", "target": TARGETS["multiclass"] | {"unseen": "missing"}},
            "'unseen' classes cannot count as missing",
        ),
        ({"class_weights": "balanced"}, "'class_weights' is for binary and multiclass"),
        (
            {"task": "multiclass", "target": TARGETS["multiclass"], "class_weights": {"hihg": 2}},
            "unknown class in 'class_weights' 'hihg'. Did you mean 'high'?",
        ),
        (
            {"task": "binary", "target": TARGETS["binary"], "class_weights": {True: 0}},
            "a number above 0 for each class",
        ),
        (
            {"task": "binary", "target": TARGETS["binary"], "class_weights": "balance"},
            "is 'balanced', or a number above 0",
        ),
        ({"costs": {"false_positive": 1, "false_negative": 1}}, "'costs' is for binary problems, not regr"),
        (
            {"task": "binary", "target": TARGETS["binary"], "costs": {"false_positive": 1}},
            "Field required",
        ),
        (
            {
                "task": "binary",
                "target": TARGETS["binary"],
                "costs": {"false_positive": 0, "false_negative": 1},
            },
            "greater than 0",
        ),
    ],
)
def test_a_problem_that_cannot_be_learnt_is_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match="(?i)" + complaint.replace("?", r"\?")):
        make_problem(**changes)


@pytest.mark.parametrize(
    ("column", "complaint"),
    [
        ({"type": "category"}, "at least two 'categories'"),
        ({"type": "category", "categories": ["a"]}, "at least two 'categories'"),
        ({"type": "category", "categories": ["a", "b", "a"]}, "names a value twice"),
        ({"type": "category", "categories": ["a", " b"]}, "no space around"),
        ({"type": "category", "categories": ["a", ""]}, "are not empty"),
        ({"type": "category", "categories": [0, 1]}, "valid string"),
        (
            {"type": "category", "categories": ["a", "b"], "range": [0, 1]},
            "'range' is for number and integer",
        ),
        ({"type": "number", "categories": ["a", "b"]}, "'categories' is for category"),
        ({"type": "number", "range": [1, 1]}, "must rise: 1 is not below 1"),
        ({"type": "number", "range": [2, 1]}, "must rise"),
        ({"type": "number", "range": [float("nan"), 1]}, "finite"),
        ({"type": "number", "range": [0, float("inf")]}, "finite"),
        ({"type": "number", "range": [0, 1, 2]}, "at most 2 items"),
        ({"type": "number", "unseen": "missing"}, "'unseen' is for category columns, not number"),
        ({"type": "category", "categories": ["a", "b"], "unseen": "drop"}, "'refuse' or 'missing'"),
        ({"type": "text"}, "'number', 'integer', 'category', 'boolean', 'datetime' or 'id'"),
        ({"type": "number", "max": 3}, "Extra inputs"),
    ],
)
def test_a_column_that_contradicts_itself_is_refused(column: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Column.model_validate(column)


@pytest.mark.parametrize("name", ['5"', "back\\slash", "two\nlines", ""])
def test_a_name_that_json_or_csv_would_escape_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="cannot be a column's name"):
        make_problem(features={**FEATURES, name: {"type": "number"}})


@pytest.mark.parametrize("name", [*sorted(OWN_COLUMNS), "_probability_low"])
def test_names_that_millrace_gives_to_its_own_columns_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="uses itself"):
        make_problem(features={**FEATURES, name: {"type": "number"}})
    with pytest.raises(ValidationError, match="uses itself"):
        make_problem(target={"name": name, "type": "number"})


def test_inputs_are_the_features_without_ids_and_key() -> None:
    features = {"a": {"type": "number"}, "other": {"type": "id"}, "number": {"type": "integer"}}
    problem = make_problem(features=features, key="number")
    assert list(problem.inputs) == ["a"]
    assert list(problem.columns) == ["a", "other", "number", "y"]


def test_classes_are_in_the_order_of_the_contract() -> None:
    assert make_problem("regression").classes == ()
    assert make_problem("binary").classes == ("false", "true")
    assert make_problem("multiclass").classes == ("low", "middle", "high")
    named = {"name": "y", "type": "category", "categories": ["yes", "no"]}
    assert make_problem("binary", target=named).classes == ("yes", "no")


def test_weights_of_booleans_are_named_as_yaml_reads_them() -> None:
    weights = yaml.safe_load("{true: 3, false: 0.5}")
    assert make_problem("binary", class_weights=weights).class_weights == {"true": 3.0, "false": 0.5}


def test_the_threshold_that_costs_imply_is_where_both_labels_cost_the_same() -> None:
    costs = make_problem("binary", costs={"false_positive": 1, "false_negative": 4}).costs
    assert costs is not None
    assert costs.threshold == pytest.approx(0.2)


def test_a_problem_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        make_problem().title = "Other"  # type: ignore[misc]


def test_every_shipped_problem_loads(problems: Path) -> None:
    assert "housing_sample" in problem_names(problems)
    for name in problem_names(problems):
        assert load_problem(name, problems).name == name


def test_an_unknown_problem_names_the_nearest(problems: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'iris'"):
        load_problem("irises", problems)


def test_a_problem_is_called_as_its_file(tmp_path: Path) -> None:
    (tmp_path / "flats.yaml").write_text(yaml.safe_dump(make_problem().model_dump(mode="json")))
    with pytest.raises(UserError, match=r"'name' is 'homes' but the file is called 'flats\.yaml'"):
        load_problem("flats", tmp_path)


def test_what_is_no_input_is_read_and_judged_by_and_not_learnt() -> None:
    problem = make_problem(
        features=FEATURES
        | {
            "kind": FEATURES["kind"] | {"sensitive": True, "input": False},
            "size": FEATURES["size"] | {"monotonic": "decreasing"},
            "lift": FEATURES["lift"] | {"sensitive": True},
        }
    )
    assert list(problem.inputs) == ["size", "floor", "lift", "built"]
    assert "kind" in problem.columns
    assert list(problem.sensitive) == ["kind", "lift"]
    assert problem.monotonic == {"size": -1}
