"""Digests depend on what a table holds and on nothing else."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.digests import (
    BLOCK,
    LONG_BLOCK,
    alike,
    file_digest,
    mix,
    repeats,
    row_digests,
    shared,
    table_digest,
    take,
)
from tests.millrace.cases import make_table


def test_the_digest_of_a_known_table_is_the_same_in_every_process_and_release() -> None:
    table = pd.DataFrame({"a": [1.5, np.nan], "b": ["x", None], "c": pd.array([True, None], dtype="boolean")})
    assert table_digest(table) == "a216b86ad2df27f83bf174cf5d48e54c8114837b0d8fab30a79714cbcb8b1578"
    assert row_digests(table).tolist() == [7098566495678629966, 14594412918041430221]


def test_memory_layout_and_index_do_not_count() -> None:
    table = make_table()
    other = table.iloc[::-1].iloc[::-1].set_axis(range(7, 7 + len(table)))
    assert table_digest(other) == table_digest(table)
    assert (row_digests(other) == row_digests(table)).all()


@pytest.mark.parametrize("column", list(make_table().columns))
def test_every_value_counts(column: str) -> None:
    table = make_table()
    changed = table.copy()
    known = table[column].dropna()
    row = known.index[known != known.iloc[0]][0]
    changed.loc[row, column] = known.iloc[0]
    assert table_digest(changed) != table_digest(table)
    assert np.flatnonzero(row_digests(changed) != row_digests(table)).tolist() == [row]


def test_names_types_and_order_of_rows_count_for_the_table() -> None:
    table = make_table()
    assert table_digest(table.rename(columns={"size": "area"})) != table_digest(table)
    assert table_digest(table.astype({"floor": "int64"})) != table_digest(table)
    assert table_digest(table.iloc[::-1]) != table_digest(table)


def test_a_value_in_another_column_is_another_row() -> None:
    here, there = pd.DataFrame({"a": [1.0], "b": [2.0]}), pd.DataFrame({"a": [2.0], "b": [1.0]})
    assert row_digests(here)[0] != row_digests(there)[0]


def test_the_order_of_columns_does_not_change_a_row() -> None:
    table = make_table()
    assert (row_digests(table[sorted(table.columns, reverse=True)]) == row_digests(table)).all()


@given(st.lists(st.sampled_from([0.0, -0.0, 1.0, float("nan"), -float("nan")]), min_size=1))
def test_equal_numbers_have_equal_digests(values: list[float]) -> None:
    plain = [0.0 if value == 0 else value if value == value else float("nan") for value in values]
    assert (row_digests(pd.DataFrame({"a": values})) == row_digests(pd.DataFrame({"a": plain}))).all()


def test_nulls_of_every_spelling_are_equal() -> None:
    tables = [pd.DataFrame({"a": pd.Series(["x", null], dtype=object)}) for null in (None, np.nan, pd.NA)]
    assert len({table_digest(table) for table in tables}) == 1


texts = st.one_of(st.none(), st.text(alphabet="ab\0é", max_size=20), st.just("long " * 200))


@given(st.lists(texts, min_size=1, max_size=30))
def test_texts_have_equal_digests_only_if_they_are_equal(values: list[str | None]) -> None:
    digests = row_digests(pd.DataFrame({"a": pd.Series(values, dtype=object)}))
    assert len(set(digests.tolist())) == len(set(values))
    alone = [row_digests(pd.DataFrame({"a": pd.Series([value], dtype=object)}))[0] for value in values]
    assert digests.tolist() == alone


def test_how_text_is_held_does_not_count() -> None:
    values = ["x", None, "ä" * 300, ""]
    plain = pd.DataFrame({"a": pd.Series(values, dtype=object)})
    chunks = pa.chunked_array([["x", None], ["ä" * 300], [""]], pa.large_string())
    masked = pa.array(["x", "under a null", "ä" * 300, ""], mask=np.array([False, True, False, False]))
    for array in (chunks, masked, pa.array(["before", *values, "after"]).slice(1, 4)):
        held = pd.DataFrame({"a": pd.Series(pd.arrays.ArrowExtensionArray(array))})
        assert table_digest(held) == table_digest(plain)
        assert (row_digests(held) == row_digests(plain)).all()


def test_more_rows_than_a_block_are_digested_alike() -> None:
    rows = 3 * BLOCK + 5
    table = pd.DataFrame({"a": np.arange(rows) % 1000 / 7, "b": [f"row {i % 999}" for i in range(rows)]})
    digests = row_digests(table)
    for start in (0, BLOCK - 1, 2 * BLOCK + 17):
        assert (row_digests(table[start : start + 9]) == digests[start : start + 9]).all()


@given(st.lists(st.tuples(st.sampled_from([0.0, -0.0, 1.0, float("nan")]), st.sampled_from(["a", None]))))
def test_repeats_are_what_pandas_calls_duplicated(rows: list[tuple[float, str | None]]) -> None:
    table = pd.DataFrame(rows, columns=["a", "b"]).astype({"a": float, "b": object})
    doubtful = alike(table)
    assert repeats(table, doubtful).tolist() == np.flatnonzero(table.duplicated()).tolist()
    assert (
        repeats(table, doubtful, keep=False).tolist() == np.flatnonzero(table.duplicated(keep=False)).tolist()
    )


def test_shared_digests_are_found_wherever_they_are_in_a_long_table() -> None:
    digests = np.arange(2 * LONG_BLOCK + 9, dtype=np.uint32) * np.uint32(2654435769)
    for rows in ([0, 1], [LONG_BLOCK - 1, LONG_BLOCK], [7, LONG_BLOCK + 7, len(digests) - 1]):
        digests[rows] = digests[rows[0]]
    assert shared(digests).tolist() == [0, 1, 7, LONG_BLOCK - 1, LONG_BLOCK, LONG_BLOCK + 7, len(digests) - 1]


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.01, 0.5, 1.0]))
def test_chosen_rows_are_what_pandas_chooses_in_memory_of_their_own(seed: int, share: float) -> None:
    table = make_table().assign(z=[-0.0, np.nan, np.inf] * 80)
    mask = np.random.default_rng(seed).random(len(table)) < share
    expected = table[mask].reset_index(drop=True)
    for rows in (mask, np.flatnonzero(mask)):
        chosen = take(table, rows)
        pd.testing.assert_frame_equal(chosen, expected)
        chosen["z"].to_numpy()[:] = 7.0
    assert not (table["z"] == 7).any()


def test_rows_alike_in_the_telling_columns_only_are_not_doubtful() -> None:
    table = pd.DataFrame({name: np.arange(6.0) for name in "abc"} | {"d": [0.0, 1.0] * 3})
    twice = pd.concat([table, table.assign(d=9.0), table.head(1)], ignore_index=True)
    assert alike(twice).tolist() == [0, 12]


def test_rows_that_only_share_their_digest_are_no_repeats() -> None:
    table = pd.DataFrame({"a": [1.0, 2.0, 1.0]})
    doubtful = shared(np.zeros(3, dtype=np.uint32))
    assert doubtful.tolist() == [0, 1, 2]
    assert repeats(table, doubtful).tolist() == [2]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, unique=True), st.integers())
def test_mixing_is_one_to_one_for_every_seed(values: list[int], seed: int) -> None:
    mixed = mix(np.array(values, dtype=np.uint64), seed)
    assert len(np.unique(mixed)) == len(values)


def test_mixing_is_the_published_finaliser() -> None:
    # The first outputs of SplitMix64 from state 0, as in Vigna's reference implementation.
    assert mix(np.zeros(1, dtype=np.uint64), 0).tolist() == [0xE220A8397B1DCDAF]
    assert mix(np.zeros(1, dtype=np.uint64), 1).tolist() == [0x6E789E6AA1B965F4]


def test_a_file_digest_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert file_digest(tmp_path / "file").startswith("ba7816bf8f01cfea414140de5dae2223")
