"""The matrix: the same from a table and from single rows, and NaN for what is not known."""

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.features import FeatureState, _selection, encode_target
from millrace.models import TrainingRows
from tests.millrace.cases import Case, make_case, make_problem, make_table

values = st.fixed_dictionaries(
    {
        "size": st.none() | st.floats(-100, 100),
        "floor": st.integers(1 - 2**53, 2**53 - 1),
        "kind": st.none() | st.sampled_from(["flat", "house", "boat", "castle", "", "Flat"]),
        "lift": st.none() | st.booleans(),
        "built": st.none() | st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31)),
    }
)


def columns_of(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Rows as a mapping of names to lists, as a service has them."""
    return {name: [row[name] for row in rows] for name in rows[0]}


@given(st.lists(values, min_size=1, max_size=20))
def test_row_by_row_is_the_batch_bit_for_bit(rows: list[dict[str, Any]]) -> None:
    state = make_case("regression").state
    batch = state.transform(columns_of(rows))
    single = np.concatenate([state.transform(columns_of([row])) for row in rows])
    assert batch.tobytes() == single.tobytes()


@given(st.lists(values, min_size=1, max_size=20))
def test_lists_are_encoded_like_the_typed_table(rows: list[dict[str, Any]]) -> None:
    state = make_case("regression").state
    frame = pd.DataFrame(
        {
            "size": pd.Series([row["size"] for row in rows], dtype=float),
            "floor": pd.Series([row["floor"] for row in rows], dtype=float),
            "kind": pd.Series([row["kind"] for row in rows], dtype=object),
            "lift": pd.array([row["lift"] for row in rows], dtype="boolean"),
            "built": np.array([row["built"] for row in rows], dtype="datetime64[us]"),
        }
    )
    assert state.transform(frame).tobytes() == state.transform(columns_of(rows)).tobytes()


def encoded(**given: Any) -> list[float]:
    """One row of the matrix: the case's state applied to a row with these values, all others null."""
    row = {"size": None, "floor": None, "kind": None, "lift": None, "built": None} | given
    return list(make_case("regression").state.transform({name: [value] for name, value in row.items()})[0])


def test_each_type_is_encoded_as_documented() -> None:
    row = encoded(size=1.5, floor=3, kind="house", lift=True, built=dt.datetime(1970, 1, 2))
    assert row == [1.5, 3.0, 1.0, 1.0, 86400.0]


def test_null_and_unseen_are_nan() -> None:
    assert np.isnan(encoded()).all()
    for unseen in ("castle", "", "Flat", " flat"):
        assert np.isnan(encoded(kind=unseen)[2])


def test_a_category_that_training_never_saw_has_its_place_in_the_contract() -> None:
    assert "boat" not in set(make_case("regression").table["kind"])
    assert encoded(kind="boat")[2] == 2.0


def test_neither_id_nor_key_nor_target_reaches_the_matrix(case: Case) -> None:
    assert case.state.names == ["size", "floor", "kind", "lift", "built"]
    assert case.state.categorical == [2]


def test_spare_columns_and_their_order_do_not_count(case: Case) -> None:
    turned = case.table[case.table.columns[::-1]].assign(spare=1)
    np.testing.assert_array_equal(case.state.transform(turned), case.rows.matrix)


def test_the_state_survives_json(case: Case) -> None:
    again = FeatureState.model_validate_json(case.state.model_dump_json())
    assert again == case.state
    assert again.transform(case.table).tobytes() == case.rows.matrix.tobytes()


def test_fill_values_are_median_and_commonest_of_training_rows() -> None:
    table = pd.DataFrame(
        {
            "size": [1.0, 2.0, 30.0, None],
            "floor": [1.0, 2.0, 3.0, 4.0],
            "kind": ["boat", "boat", "flat", None],
            "lift": pd.array([True, True, False, None], dtype="boolean"),
            "built": pd.Series(["1970-01-01", "1970-01-02", "1970-01-03", None], dtype="datetime64[us]"),
            "y": [1.0, 2.0, 3.0, 4.0],
            "id": list("abcd"),
        }
    )
    state = TrainingRows.of(table, make_problem()).state
    assert [column.fill for column in state.inputs] == [2.0, 2.5, None, 1.0, 86400.0]
    assert [column.gaps for column in state.inputs] == [True, False, True, True, True]
    dense = state.dense(state.transform(table))
    # Size, floor, lift, built; size missing; flat, house, boat, none; lift missing; built missing.
    assert dense[3].tolist() == [2.0, 4.0, 1.0, 86400.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    assert dense[0].tolist() == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    assert state.dense_sources == [0, 1, 3, 4, 0, 2, 2, 2, 2, 3, 4]


def test_what_was_never_missing_in_training_is_filled_without_a_mark() -> None:
    table = make_table(rows=30).assign(size=np.arange(30.0), kind="flat")
    state = TrainingRows.of(table, make_problem()).state
    row = {"size": [None], "floor": [1.0], "kind": ["castle"], "lift": [True], "built": [None]}
    dense = state.dense(state.transform(row))[0]
    assert dense[0] == 14.5
    assert [dense[i] for i, source in enumerate(state.dense_sources) if source == 2] == [0.0, 0.0, 0.0]
    assert state.dense_sources.count(0) == 1


def test_a_state_fitted_on_some_rows_is_that_of_a_table_of_these_rows(case: Case) -> None:
    part = np.arange(0, 240, 7)
    expected = TrainingRows.of(case.table.iloc[part], case.problem).state
    assert case.rows.take(part).state == expected


def test_a_column_without_any_value_is_filled_with_zero() -> None:
    table = make_table(rows=5).assign(
        size=np.nan,
        kind=None,
        lift=pd.array([None] * 5, dtype="boolean"),
        built=np.full(5, np.datetime64("NaT", "us")),
    )
    state = TrainingRows.of(table, make_problem()).state
    dense = state.dense(state.transform(table))
    assert dense[:, [0, 2, 3]].tolist() == [[0.0] * 3] * 5
    assert dense[:, 4:].tolist() == [[1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]] * 5


def test_filling_leaves_the_matrix_as_it_was(case: Case) -> None:
    before = case.rows.matrix.copy()
    case.state.dense(case.rows.matrix)
    np.testing.assert_array_equal(case.rows.matrix, before)


@pytest.mark.parametrize(
    ("task", "given", "expected"),
    [
        ("regression", [1.5, 2.0], [1.5, 2.0]),
        ("binary", pd.array([True, False], dtype="boolean"), [1.0, 0.0]),
        ("binary", [False, True], [0.0, 1.0]),
        ("multiclass", ["high", "low", "middle"], [2.0, 0.0, 1.0]),
    ],
)
def test_the_target_is_its_value_or_the_place_of_its_class(
    task: Any, given: Any, expected: list[float]
) -> None:
    assert encode_target(given, make_problem(task)).tolist() == expected


def test_a_binary_target_of_categories_follows_the_contracts_order() -> None:
    problem = make_problem("binary", target={"name": "y", "type": "category", "categories": ["yes", "no"]})
    assert encode_target(["no", "yes"], problem).tolist() == [1.0, 0.0]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6))
def test_columns_taken_as_a_slice_are_those_named(positions: list[int]) -> None:
    matrix = np.arange(30.0).reshape(3, 10)
    np.testing.assert_array_equal(matrix[:, _selection(positions)], matrix[:, positions])


@pytest.mark.parametrize(("positions", "sliced"), [([3, 2], True), ([2, 5, 8], True), ([1, 2, 4], False)])
def test_equally_distant_columns_are_not_copied(positions: list[int], sliced: bool) -> None:
    matrix = np.arange(30.0).reshape(3, 10)
    assert np.shares_memory(matrix, matrix[:, _selection(positions)]) is sliced
