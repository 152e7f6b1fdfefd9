"""A key's rows out of a bundle, and what of a private column is shown."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.bundle import (
    KEYS,
    PROVENANCE,
    REFERENCE,
    SELFTEST,
    FittedModel,
    load_bundle,
    read_json,
    seal,
    verify,
    write_json,
)
from millrace.contract import Task
from millrace.errors import UserError
from millrace.forgetting import kept_rows, key_digest, key_texts, succeed, write_keys
from millrace.selftest import check_selftest
from tests.millrace.cases import FEATURES, TASKS, make_case, make_fitted, make_problem, make_table


def sealed(fitted: FittedModel, table: pd.DataFrame, folder: Path) -> Path:
    """A bundle that is tested by the first five rows of a table and watched by those from the tenth on."""
    folder.mkdir()
    fitted.save(folder)
    inputs = list(fitted.problem.inputs)
    tested, reference = table.head(5), table.iloc[10:]
    rows = json.loads(tested[inputs].to_json(orient="records", date_format="iso"))
    write_json(folder / SELFTEST, {"rows": rows, "predictions": fitted.predict(tested).tolist()})
    reference[inputs].assign(**fitted.columns(fitted.predict(reference))).to_parquet(folder / REFERENCE)
    write_keys(folder, fitted, table, tested, reference)
    write_json(folder / PROVENANCE, {"created": "now"})
    seal(folder)
    return folder


@pytest.mark.parametrize("kind", ["lightgbm", "blend"])
@pytest.mark.parametrize("task", TASKS)
def test_a_successor_is_the_same_model_without_the_rows(task: Task, kind: str, tmp_path: Path) -> None:
    fitted, table = make_fitted(task, kind), make_case(task).table
    folder = sealed(fitted, table, tmp_path / "old")
    digest = verify(folder)
    for number, row in enumerate((2, 30)):
        key = key_digest(fitted.problem, f"home {row}")
        assert kept_rows(folder, key) in ((1,) if kind == "lightgbm" else (1, 2, 3, 4, 5))
        new = succeed(folder, tmp_path / f"new {number}", key)
        assert new == verify(tmp_path / f"new {number}") != digest
        # The same command that goes on makes the same one.
        assert succeed(folder, tmp_path / f"again {number}", key) == new
        assert read_json(tmp_path / f"new {number}" / PROVENANCE)["succeeds"] == verify(folder)
        folder, digest = tmp_path / f"new {number}", new
        assert kept_rows(folder, key) == 0
    bundle = load_bundle(folder)
    check_selftest(bundle)
    assert len(bundle.read(SELFTEST)["rows"]) == 4
    pd.testing.assert_frame_equal(
        pd.read_parquet(folder / REFERENCE)["size"].to_frame(),
        table.iloc[10:].drop(index=30)[["size"]].reset_index(drop=True),
    )
    np.testing.assert_array_equal(bundle.fitted.predict(table), fitted.predict(table))


def test_a_background_is_found_among_the_rows_it_was_taken_from(tmp_path: Path) -> None:
    fitted, table = make_fitted("regression", "network"), make_case("regression").table
    folder = sealed(fitted, table, tmp_path / "old")
    whose = read_json(folder / KEYS)["background.npy"]
    assert len(whose) == 16
    assert all(whose)
    others = set(map(tuple, read_json(folder / KEYS)[SELFTEST] + read_json(folder / KEYS)[REFERENCE]))
    [gone] = whose[0]
    target = tmp_path / "new"
    succeed(folder, target, gone)
    before, after = np.load(folder / "background.npy"), np.load(target / "background.npy")
    np.testing.assert_array_equal(after, before[[gone not in digests for digests in whose]])
    assert len(after) < 16
    assert others


def test_no_key_is_in_a_bundle_and_none_without_a_key_in_the_contract(tmp_path: Path) -> None:
    fitted, table = make_fitted("regression", "lightgbm"), make_case("regression").table
    folder = sealed(fitted, table, tmp_path / "old")
    for path in folder.rglob("*"):
        assert path.is_dir() or b"home " not in path.read_bytes()
    assert kept_rows(folder, key_digest(fitted.problem, "nobody")) == 0
    without = FittedModel(make_problem(key=None), fitted.state, fitted.model)
    write_keys(tmp_path, without, table, table, table)
    assert not (tmp_path / KEYS).exists()
    assert kept_rows(tmp_path, "a" * 64) is None


def test_a_bundle_that_would_be_left_without_rows_is_left_as_it_is(tmp_path: Path) -> None:
    fitted, table = make_fitted("regression", "lightgbm"), make_case("regression").table
    folder = sealed(fitted, table.assign(id=["x"] * 5 + table["id"].tolist()[5:]), tmp_path / "old")
    with pytest.raises(UserError, match=r"all rows of 'selftest.json' are of this key"):
        succeed(folder, tmp_path / "new", key_digest(fitted.problem, "x"))
    verify(folder)


def test_digests_differ_by_problem_and_key() -> None:
    problem, other = make_problem(), make_problem(name="flats")
    assert len({key_digest(problem, "1"), key_digest(problem, "2"), key_digest(other, "1")}) == 3


@given(st.lists(st.one_of(st.none(), st.integers(-(2**53) + 1, 2**53 - 1)), min_size=1))
def test_keys_that_are_numbers_are_found_by_their_digits(keys: list[int | None]) -> None:
    problem = make_problem(features=FEATURES | {"id": {"type": "integer"}})
    table = pd.DataFrame({"id": pd.Series(keys, dtype=float)})
    assert key_texts(table, problem) == ["" if key is None else str(key) for key in keys]


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        ({"type": "number", "range": [-100, 100], "nullable": True}, None),
        ({"type": "number"}, 0),
        ({"type": "number", "range": [5, 9]}, 5),
        ({"type": "number", "range": [None, -2]}, -2),
        ({"type": "integer", "range": [-3, None]}, 0),
    ],
)
def test_what_is_private_is_made_up_in_examples_and_commons(
    column: dict[str, Any], shown: float | None, tmp_path: Path
) -> None:
    from millrace.form import read_form
    from millrace.openapi import openapi
    from millrace.requests import RequestReader

    features = FEATURES | {"size": {**column, "private": True}}
    problem = make_problem(features=features)
    table = make_table().assign(size=7.5 if shown != -2 else -7.5)
    fitted = make_fitted("regression", "lightgbm")
    private = FittedModel(problem, fitted.state, fitted.model)
    bundle = load_bundle(sealed(private, table, tmp_path / "private"))
    form = {field.name: field for field in read_form(bundle).fields}
    assert (form["size"].example, form["size"].common) == (shown, None)
    assert form["floor"].example is not None
    reader = RequestReader(problem)
    document = json.dumps(openapi(bundle, reader), default=str)
    assert "7.5" not in document
    examples = openapi(bundle, reader)["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
    reader.read(json.dumps(examples["application/json"]["example"]).encode())
