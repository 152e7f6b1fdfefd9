"""Cleaning: which rows are kept, which are not and why, and that none is lost."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.casting import UNREADABLE, cast, joined
from millrace.cleaning import REASON, Cleaned, clean, row_faults
from millrace.contract import Problem
from millrace.errors import UserError
from tests.millrace.cases import FEATURES, make_problem

# For each column, cells as text: what each is once typed, and whether the contract allows it.
CELLS: dict[str, dict[str, tuple[Any, bool]]] = {
    "size": {"-100": (-100, True), "100": (100, True), "": (None, True)}
    | {"100.5": (100.5, False), "x": (None, False), "inf": ("inf", False)},
    "floor": {"1": (1, True), "2": (2, True)}
    | {"": (None, False), "1.5": (None, False), "1e300": (1e300, False)},
    "kind": {"flat": ("flat", True), "": (None, True), "castle": ("castle", False)},
    "lift": {"yes": (True, True), "": (None, True), "maybe": (None, False)},
    "built": {"2020-01-01": ("2020", True), "": (None, True), "soon": (None, False)},
    "id": {"a": ("a", True), "b": ("b", True), "c": ("c", True), "": (None, False)},
    "y": {"1": (1, True), "2": (2, True), "": (None, False), "none": (None, False)},
}  # fmt: skip
PROBLEM = make_problem()


def cells(column: str) -> st.SearchStrategy[str]:
    """A cell of a column, allowed more often than not."""
    allowed = [text for text, (_, good) in CELLS[column].items() if good]
    return st.sampled_from([*allowed * 4, *CELLS[column]])


rows_of_text = st.lists(st.fixed_dictionaries({name: cells(name) for name in CELLS}), min_size=1, max_size=14)


def bronze_of(rows: list[dict[str, str]]) -> pd.DataFrame:
    """The typed table of rows of text."""
    return cast(pa.Table.from_pylist(rows), PROBLEM, "t")


def faults(bronze: pd.DataFrame, problem: Problem = PROBLEM) -> "pd.Series[str]":
    """What is wrong with the rows that have something wrong, by position."""
    return joined(row_faults(bronze, problem)[0])


def typed(row: dict[str, str]) -> tuple[Any, ...]:
    """What a row of text is once typed."""
    return tuple(CELLS[name][row[name]][0] for name in CELLS)


def allowed_rows(rows: list[dict[str, str]]) -> set[tuple[Any, ...]]:
    """The typed rows to keep, by the contract read once more, row by row."""
    key = list(CELLS).index("id")
    different: dict[Any, set[tuple[Any, ...]]] = {}
    for row in rows:
        different.setdefault(typed(row)[key], set()).add(typed(row))
    return {
        typed(row)
        for row in rows
        if all(CELLS[name][text][1] for name, text in row.items()) and len(different[typed(row)[key]]) == 1
    }


def clean_or_all_bad(bronze: pd.DataFrame) -> Cleaned | None:
    """Clean with the loosest limit; None where even that is passed, as no row is good."""
    try:
        return clean(bronze, PROBLEM, bad_rows_limit=0.999)
    except UserError:
        assert len(faults(bronze)) == len(bronze)
        return None


@given(rows_of_text)
def test_every_row_is_used_quarantined_or_a_duplicate_as_the_contract_says(
    rows: list[dict[str, str]],
) -> None:
    cleaned = clean_or_all_bad(bronze_of(rows))
    if cleaned is None:
        assert not allowed_rows(rows)
        return
    counts = cleaned.counts
    assert counts.read == len(rows) == counts.used + counts.quarantined + counts.duplicates
    assert (len(cleaned.silver), len(cleaned.quarantine)) == (counts.used, counts.quarantined)
    expected = bronze_of([row for row in rows if typed(row) in allowed_rows(rows)])
    expected = expected[list(PROBLEM.columns)].drop_duplicates().reset_index(drop=True)
    pd.testing.assert_frame_equal(cleaned.silver, expected)


@given(rows_of_text)
def test_every_quarantined_row_has_a_reason_per_bad_cell(rows: list[dict[str, str]]) -> None:
    reasons = faults(bronze_of(rows)).reindex(range(len(rows)), fill_value="").tolist()
    for row, reason in zip(rows, reasons, strict=True):
        bad = [name for name, text in row.items() if not CELLS[name][text][1]]
        named = [
            part.partition(":")[0] for part in reason.split("; ") if part and "different rows" not in part
        ]
        assert sorted(named) == sorted(bad)
        assert ("id: several different rows have this key" in reason) == (
            row["id"] != "" and len({typed(other) for other in rows if other["id"] == row["id"]}) > 1
        )


@settings(max_examples=20)
@given(rows_of_text)
def test_cleaning_twice_is_cleaning_once(rows: list[dict[str, str]]) -> None:
    once = clean_or_all_bad(bronze_of(rows))
    if once is not None:
        twice = clean(once.silver.assign(**{UNREADABLE: None}), PROBLEM, bad_rows_limit=0)
        pd.testing.assert_frame_equal(twice.silver, once.silver)
        assert twice.counts.used == twice.counts.read


@settings(max_examples=20)
@given(rows_of_text, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_change_which_are_used(rows: list[dict[str, str]], random: Any) -> None:
    shuffled = random.sample(rows, len(rows))
    one, other = clean_or_all_bad(bronze_of(rows)), clean_or_all_bad(bronze_of(shuffled))
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        names = list(PROBLEM.columns)
        left, right = (
            silver.sort_values(names).reset_index(drop=True) for silver in (one.silver, other.silver)
        )
        pd.testing.assert_frame_equal(left, right)


GOOD = {"size": "1", "floor": "1", "kind": "flat", "lift": "yes", "built": "2020-01-01", "id": "a", "y": "1"}


def numbered(count: int, **changes: str) -> list[dict[str, str]]:
    """Good rows with keys of their own, and `changes` in the first."""
    return [GOOD | {"id": f"row {i}"} | (changes if i == 0 else {}) for i in range(count)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"size": "-100.5"}, "size: below -100"),
        ({"size": "100.5"}, "size: above 100"),
        ({"size": "-inf"}, "size: infinite"),
        ({"size": "?"}, "size: '?' is not a number"),
        ({"floor": ""}, "floor: missing"),
        ({"y": "-1e39"}, "y: too large to compute with"),
        ({"floor": "9007199254740994"}, "floor: too large to be exact"),
        ({"kind": "castle"}, "kind: not a known category"),
        ({"lift": "maybe"}, "lift: 'maybe' is not a boolean"),
        ({"built": "soon"}, "built: 'soon' is not a datetime"),
        ({"y": "nan"}, "y: missing"),
        ({"id": ""}, "id: missing"),
        ({"size": "?", "kind": "castle"}, "size: '?' is not a number; kind: not a known category"),
        ({"id": "row 1", "size": "2"}, "id: several different rows have this key"),
        ({"id": "row 1", "size": "101"}, "size: above 100; id: several different rows have this key"),
    ],
)
def test_a_reason_says_column_and_rule(changes: dict[str, str], reason: str) -> None:
    quarantine = clean(bronze_of(numbered(9, **changes)), PROBLEM, bad_rows_limit=0.5).quarantine
    assert quarantine[REASON].iloc[0] == reason


def test_an_unseen_category_may_count_as_missing_but_a_missing_one_may_not() -> None:
    kind = {"type": "category", "categories": ["flat", "house", "boat"], "unseen": "missing"}
    problem = make_problem(features=FEATURES | {"kind": kind})
    rows = numbered(9, kind="castle")
    rows[1]["kind"] = ""
    table = pa.Table.from_pylist(rows)
    cleaned = clean(cast(table, problem, "test"), problem, bad_rows_limit=0.5)
    assert cleaned.silver["kind"].iloc[0] == "castle"
    assert cleaned.quarantine[REASON].tolist() == ["kind: missing"]


def test_a_row_whose_key_is_given_to_another_is_quarantined_with_it() -> None:
    cleaned = clean(bronze_of(numbered(9, id="row 1", size="2")), PROBLEM, bad_rows_limit=0.5)
    assert cleaned.quarantine["id"].tolist() == ["row 1", "row 1"]


def test_rows_without_a_key_do_not_clash_where_the_key_may_be_missing() -> None:
    features: dict[str, Any] = {"id": {"type": "id", "nullable": True}, "a": {"type": "number"}}
    problem = make_problem(features=features)
    bronze = cast(pa.table({"id": ["", "", "k"], "a": ["1", "2", "3"], "y": ["1", "2", "3"]}), problem, "t")
    assert clean(bronze, problem, bad_rows_limit=0).counts.used == 3


def test_a_column_whose_name_ends_like_another_keeps_its_own_reason() -> None:
    problem = make_problem(features={"rooms": {"type": "number"}, "bedrooms": {"type": "number"}}, key=None)
    bronze = cast(pa.table({"rooms": [""], "bedrooms": ["x"], "y": ["1"]}), problem, "t")
    assert faults(bronze, problem).tolist() == ["bedrooms: 'x' is not a number; rooms: missing"]


def test_a_name_with_special_characters_is_no_pattern() -> None:
    problem = make_problem(features={"a (m²) [+*": {"type": "number"}, "b": {"type": "number"}}, key=None)
    bronze = cast(pa.table({"a (m²) [+*": ["x"], "b": ["1"], "y": ["1"]}), problem, "t")
    assert faults(bronze, problem).tolist() == ["a (m²) [+*: 'x' is not a number"]


def test_too_many_bad_rows_stop_the_run_and_say_the_commonest_reasons() -> None:
    rows = numbered(6, kind="castle") + [GOOD | {"id": f"bad {i}", "size": "101"} for i in range(4)]
    with pytest.raises(UserError) as caught:
        clean(bronze_of(rows), PROBLEM, bad_rows_limit=0.4)
    assert "5 of 10 rows break the contract of 'homes', more than the limit of 40.0%" in str(caught.value)
    assert "Most often: size: above 100 (4 rows); kind: not a known category (1 rows)" in str(caught.value)
    assert clean(bronze_of(rows), PROBLEM, bad_rows_limit=0.5).counts.quarantined == 5


def test_a_single_good_row_is_kept_and_a_single_bad_one_refused() -> None:
    assert clean(bronze_of([GOOD]), PROBLEM, bad_rows_limit=0).counts.used == 1
    with pytest.raises(UserError, match="1 of 1 rows break the contract"):
        clean(bronze_of([GOOD | {"y": ""}]), PROBLEM, bad_rows_limit=0.9)


def test_the_bronze_table_is_left_as_it_was() -> None:
    bronze = bronze_of([GOOD, GOOD | {"id": "b", "kind": "castle"}])
    before = bronze.copy(deep=True)
    clean(bronze, PROBLEM, bad_rows_limit=0.6)
    pd.testing.assert_frame_equal(bronze, before)


def test_rows_that_differ_only_in_the_sign_of_zero_are_duplicates() -> None:
    rows = [GOOD | {"size": "0"}, GOOD | {"size": "-0.0"}]
    cleaned = clean(bronze_of(rows), PROBLEM, bad_rows_limit=0)
    assert cleaned.counts.duplicates == 1
    assert not np.signbit(cleaned.silver["size"]).any()
