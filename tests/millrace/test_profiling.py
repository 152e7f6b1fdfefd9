"""Drafts: what a column becomes and why, and that a draft always holds on its own table."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from millrace.casting import cast
from millrace.cleaning import clean
from millrace.contract import Column, load_problem
from millrace.errors import UserError
from millrace.profiling.drafting import ColumnProfile, Draft, make_draft
from millrace.profiling.expectations import WHOLE_TABLE, column_suites
from millrace.profiling.files import check_name, file_name, problem_name, write_files
from millrace.profiling.inference import bounds
from millrace.profiling.settings import ProfilingSettings
from millrace.profiling.statistics import describe_numbers, missing_patterns
from millrace.profiling.yaml_text import to_yaml
from millrace.quality import Report, require, run_suite, silver_suite
from millrace.sources import read
from tests.millrace.traps import as_csv, trap_table

SETTINGS = ProfilingSettings.model_validate({})
N = 200


def draft_of(columns: dict[str, Any], target: str = "y", **settings: Any) -> Draft:
    """The draft of a table with these columns."""
    return make_draft(
        pa.table(columns), "the table", name="drafted", source="t.csv", target=target,
        settings=ProfilingSettings.model_validate(settings),
    )  # fmt: skip


def with_noise(values: Any, **settings: Any) -> ColumnProfile:
    """What a column `x` becomes beside a number that varies and a target that depends on neither."""
    rng = np.random.default_rng(5)
    values = (
        pa.chunked_array([values]) if isinstance(values, pa.Array) else pa.chunked_array([pa.array(values)])
    )
    noise = {name: [f"{v:.6f}" for v in rng.normal(size=len(values))] for name in ("z", "y")}
    draft = draft_of({"x": values, **noise}, **settings)
    return draft.columns[0]


def spread(*values: Any, rows: int = N) -> list[Any]:
    """Rows that hold these values in turn."""
    return [values[position % len(values)] for position in range(rows)]


def texts(*values: Any) -> list[str]:
    return [str(value) for value in values]


@pytest.mark.parametrize(
    ("values", "kind", "role", "note"),
    [
        (spread("1", "2", "-3"), "integer", "feature", ""),
        (spread("1.0", "2.0", "", "5.0"), "integer", "feature", ""),
        (spread("1.5", "2", "1e3"), "number", "feature", ""),
        (spread("yes", "No", "YES"), "boolean", "feature", "written as No, YES, yes"),
        (spread("0", "1"), "boolean", "feature", "written as 0, 1"),
        (spread(True, False, None), "boolean", "feature", ""),
        (spread("007", "120", "013"), "category", "feature", "leading zeros, like '007', '013'"),
        (texts(*(f"{n:05d}" for n in range(N))), "id", "key", "suspected key"),
        (texts(*range(7, N + 7)), "id", "key", "suspected key"),
        (list(range(N)), "id", "key", "suspected key"),
        (spread("a", "b", "A"), "category", "feature", "differ in case only, and count as different: A/a"),
        (spread("red", "NA", "blue"), "category", "feature", "count as empty: 'NA' (67)"),
        ([f"a note, number {n}" for n in range(N)], "id", "id", "200 different texts"),
        (spread("2024-01-31", "2023-12-01T10:00:00Z"), "datetime", "feature", ""),
        (spread("20240131", "20240201"), "integer", "feature", ""),
        (spread("DE"), "category", "left out", "constant: 'DE' in every row"),
        (spread("1.0", "1", "1.00"), "integer", "left out", "constant: '1' in every row"),
        (spread("x", None), "category", "left out", "constant: 'x' where it is known"),
        (spread("", "NA", None), None, "left out", "empty in every row"),
        (spread([1], [2]), None, "left out", "holds list<"),
        (pa.array(spread(b"\xff", b"a")), None, "left out", "not UTF-8"),
        (["1,250" if n < 180 else "900" for n in range(N)] , "category", "feature", ""),
        ([f"{n},250" for n in range(N)], "id", "id", "thousands separators"),
        (spread("5", "7", "9", rows=195) + ["?"] * 5, "integer", "feature", "5 of 200 cells"),
        (spread("5", "7", "9", rows=150) + ["?"] * 50, "category", "feature", "25% of its cells"),
        ([str(2**53 + 2 * n) for n in range(N)], "id", "key", "too large to be exact"),
    ],
)  # fmt: skip
def test_a_column_becomes_what_it_seems_to_be(values: Any, kind: str | None, role: str, note: str) -> None:
    found = with_noise(values)
    assert (found.kind, found.role) == (kind, role)
    assert note in "; ".join(found.notes)


def test_bad_cells_of_many_columns_together_stay_within_the_limit() -> None:
    rng = np.random.default_rng(0)
    columns = {
        f"x{place}": [
            "?" if 0 <= row - 8 * place < 8 - place else f"{value:.3f}"
            for row, value in enumerate(rng.normal(size=N))
        ]
        for place in range(4)
    }
    draft = draft_of({**columns, "y": rng.normal(size=N)})
    assert [column.kind for column in draft.columns[:4]] == ["id", "id", "id", "number"]
    assert "with those of other columns too many" in draft.columns[0].notes[0]
    assert draft.expected.quarantined == 5


def test_a_leak_is_left_out_whatever_its_shape() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=2000)
    columns = {
        "ranks": np.exp(y),
        "sign": np.abs(y) * np.where(y > 0, 1, 5.5),
        "fair": y + rng.normal(size=2000),
    }
    draft = draft_of({**columns, "y": y})
    assert draft.columns[0].notes == ("leak: rank correlation 1.0000 with the target",)
    assert list(draft.problem.features) == ["sign", "fair"]
    classes = np.array(["a", "b", "c"])[rng.integers(0, 3, 600)]
    codes = {"a": "q", "b": "z", "c": "k"}
    draft = draft_of({"code": [codes[c] for c in classes], "fair": rng.normal(size=600), "y": classes})
    assert list(draft.problem.features) == ["fair"]
    assert "leak" in draft.columns[0].notes[0]


@pytest.mark.parametrize(
    ("target", "task", "categories"),
    [
        (spread(*texts(*np.linspace(0, 1, 37))), "regression", ()),
        (spread(*range(40)), "regression", ()),
        (spread("0", "1"), "binary", ()),
        (spread("no", "yes", "no"), "binary", ()),
        (spread("ham", "spam"), "binary", ("ham", "spam")),
        (spread("1.0", "2.0", "3.0"), "multiclass", ("1", "2", "3")),
        (spread(1, 2), "binary", ("1", "2")),
        (spread("a", "b", "c"), "multiclass", ("a", "b", "c")),
        ([*spread("a", "b", rows=195), *spread("rare", rows=5)], "binary", ("a", "b")),
    ],
)
def test_the_task_follows_from_the_target(target: Any, task: str, categories: tuple[str, ...]) -> None:
    draft = draft_of({"x": np.random.default_rng(1).normal(size=N), "y": target})
    assert draft.problem.task == task
    assert draft.problem.target.categories == categories


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"z": [1.0]}, "no column 'y' to predict"),
        ({"Y ": [1.0, 2.0]}, "Did you mean 'Y '?"),
        ({"x": spread(1.5, 2.5), "y": spread("a")}, "constant: 'a' in every row; there is nothing"),
        ({"x": spread(1.5, 2.5), "y": spread(None)}, "empty in every row"),
        ({"x": spread(1.5, 2.5), "y": [f"t{n}" for n in range(N)]}, "neither numbers nor 2 to 50 classes"),
        ({"x": spread(1.5, 2.5), "y": spread("2024-01-01", "2024-01-02")}, "neither numbers nor"),
        ({"x": spread("a"), "y": np.arange(N) * 0.5}, "no column is left to learn from (x: constant"),
        ({"x": [1.5, 2.5, 3.0], "y": [0.5, 1.5, 2.0]}, "at least 10 are needed"),
        ({"x": spread(1.5, 2.5), "y": ["a"] * 195 + ["b"] * 5}, "fewer than two classes"),
        ({"x": spread(1, 2, 3, 4, 5, rows=200), "y": ["a"] * 100 + ["b"] * 100}, "fewer than two classes of"),
        ({"x": [], "y": []}, "no rows"),
        ({"x": spread(1.5, 2.5), "y": spread([1], [2])}, "not numbers or text"),
    ],
)  # fmt: skip
def test_a_target_that_cannot_be_predicted_is_refused(columns: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError) as refused:
        draft_of(columns)
    assert expected in str(refused.value)


def test_rows_without_a_target_are_told_of_and_features_keep_their_share() -> None:
    rng = np.random.default_rng(0)
    y = [None if row % 4 == 0 else value for row, value in enumerate(rng.normal(size=N))]
    draft = draft_of({"x": rng.normal(size=N), "y": y})
    assert draft.expected.quarantined == 50
    assert "empty in 50 rows" in draft.warnings[0]
    assert "--set bad_rows_limit=0.26" in draft.warnings[1]


def test_names_that_no_contract_takes_are_left_out() -> None:
    rng = np.random.default_rng(0)
    names = ['a"b', "", "_reason", "twice", "twice", "n" * 300, "y", "x"]
    raw = pa.table([pa.array(rng.normal(size=N)) for _ in names], names=names)
    draft = make_draft(raw, "t", name="d", source="t", target="y", settings=SETTINGS)
    assert [column.role for column in draft.columns] == ["left out"] * 6 + ["target", "feature"]
    assert all(column.notes for column in draft.columns[:6])


def test_every_trap_of_a_messy_table_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "traps.csv"
    path.write_bytes(as_csv(trap_table()))
    raw = read(str(path), tmp_path)
    draft = make_draft(
        raw.table, raw.origin, name="traps", source=str(path), target="rent", settings=SETTINGS
    )
    found = {c.name: c.kind if c.role == "feature" else c.role for c in draft.columns}
    assert found == {
        "flat id": "key", "area": "number", "rooms": "integer", "Straße & Nr.": "id", "plz": "category",
        "country": "left out", "empty": "left out", "rent.per.year": "left out", "let on": "datetime",
        "lift?": "boolean", "district": "category", "heating": "category", "distance": "integer",
        "floor: 'x' # [a]": "integer", "yes": "number", "rent": "target",
    }  # fmt: skip
    assert draft.expected.model_dump() == {"read": 605, "used": 594, "quarantined": 6, "duplicates": 5}
    (tmp_path / "traps.yaml").write_text(to_yaml(draft))
    assert load_problem("traps", tmp_path) == draft.problem


NAMES = st.text(min_size=1, max_size=30).filter(lambda name: name != "y")
CELLS = st.one_of(
    st.none(), st.text(max_size=12), st.integers(-(10**20), 10**20).map(str), st.floats().map(str),
    st.dates().map(str), st.sampled_from(["", "NA", "yes", "no", "007", "1,200", "1e999", " x "]),
)  # fmt: skip
POOLS = st.lists(CELLS, min_size=1, max_size=8)
TARGETS = st.sampled_from(["number", "integer", "classes", "boolean"])


@given(st.dictionaries(NAMES, POOLS, min_size=1, max_size=5), TARGETS, st.integers(0, 2**31 - 1))
def test_a_draft_holds_on_its_own_table(pools: dict[str, list[str | None]], kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(60, 120))
    target = {
        "number": rng.normal(size=rows), "integer": rng.integers(-50, 50, rows),
        "classes": rng.choice(["a", "b", "Ü"], rows), "boolean": rng.choice(["yes", "no"], rows),
    }[kind]  # fmt: skip
    columns: dict[str, Any] = {
        name: pa.array([pool[place] for place in rng.integers(0, len(pool), rows)], pa.string())
        for name, pool in pools.items()
    }
    columns |= {
        "y": [str(value) if rng.random() > 0.02 else "" for value in target],
        "noise": rng.random(rows),
    }
    raw = pa.table(columns)
    try:
        draft = make_draft(raw, "t", name="drafted", source="t.csv", target="y", settings=SETTINGS)
    except UserError as error:
        # A class may have too few rows by chance; nothing else of these tables is beyond repair.
        if "fewer than two classes" not in str(error):
            raise
        return
    problem = draft.problem
    assert {column.name for column in draft.columns} == set(raw.column_names)
    assert all(column.notes for column in draft.columns if column.role == "left out")
    assert type(problem).model_validate(yaml.safe_load(to_yaml(draft))) == problem
    cleaned = clean(cast(raw, problem, "t"), problem, bad_rows_limit=1.0)
    assert cleaned.counts == draft.expected
    told = any("go to quarantine, more than the limit" in warning for warning in draft.warnings)
    assert told == (cleaned.counts.quarantined >= 0.05 * rows)
    # Only rows without a target may be too many: features with bad cells are read as text instead.
    assert not told or columns["y"].count("") + 1 >= 0.05 * rows


def test_a_drafts_checks_pass_on_its_own_table() -> None:
    raw = pa.table(trap_table(rows=200))
    draft = make_draft(raw, "t", name="traps", source="t", target="rent", settings=SETTINGS)
    silver = clean(cast(raw, draft.problem, "t"), draft.problem, SETTINGS.bad_rows_limit).silver
    checks = run_suite(silver, silver_suite(draft.problem), "silver", "Great Expectations")
    require(Report(layer="silver", checks=tuple(checks)), "t")


def test_a_suite_a_column_holds_every_check_and_loads_in_great_expectations() -> None:
    import great_expectations as gx

    draft = draft_of({"a/b": np.random.default_rng(0).normal(size=N), "y": np.arange(N) / 3})
    suites = column_suites(draft.problem, SETTINGS)
    assert set(suites) == {WHOLE_TABLE, "a/b", "y"}
    loaded = {name: gx.ExpectationSuite(**json.loads(json.dumps(suite))) for name, suite in suites.items()}
    assert all(len(loaded[name].expectations) == len(suites[name]["expectations"]) for name in suites)
    assert {e["meta"]["layer"] for e in suites["y"]["expectations"]} == {"bronze", "silver"}
    assert all(e["kwargs"]["column"] == "a/b" for e in suites["a/b"]["expectations"])


@given(st.floats(-1e300, 1e300), st.floats(1e-300, 1e300), st.booleans(), st.sampled_from([0.0, 0.1, 1.0]))
def test_bounds_hold_what_they_were_made_from(low: float, span: float, whole: bool, margin: float) -> None:
    limit = 2.0**53 - 1 if whole else 3.4e38
    low, span = (np.clip(value, -limit, limit) for value in (low, span))
    low, high = (float(round(v)) if whole else float(v) for v in (low, min(low + span, limit)))
    assume(low < high)
    left, right = bounds(low, high, whole, margin)
    assert -limit <= left <= low < high <= right <= limit
    assert left >= 0 or low < 0
    assert right <= 0 or high > 0
    assert not whole or (left.is_integer() and right.is_integer())
    Column(type="integer" if whole else "number", range=(left, right))


def test_bounds_are_round() -> None:
    assert bounds(-124.35, -114.31, False, 0.1) == (-125.4, -113.3)
    assert bounds(1, 6445, True, 0.1) == (0, 7090)


@given(
    st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 9)), min_size=1, unique_by=lambda pair: pair[0])
)
def test_statistics_of_counted_values_are_those_of_all_rows(pairs: list[tuple[int, int]]) -> None:
    values, counts = (np.array(part) for part in zip(*pairs, strict=True))
    every = np.repeat(values, counts).astype(float)
    found = describe_numbers(values.astype(float), counts)
    assert (found.low, found.high) == (every.min(), every.max())
    expected = [np.quantile(every, q, method="inverted_cdf") for q in (0.05, 0.25, 0.5, 0.75, 0.95)]
    assert list(found.quantiles) == expected
    assert found.mean == pytest.approx(every.mean())
    assert found.deviation == pytest.approx(every.std(), abs=1e-9)


def test_columns_that_are_empty_together_are_found() -> None:
    raw = pa.table({"a": ["1", "", None, "2"], "b": ["1", "NA", "x", "2"], "c": ["1", "2", "3", "4"]})
    assert missing_patterns(raw) == [((), 2), (("a", "b"), 1), (("a",), 1)]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("data/My flats.csv.gz", "my_flats"),
        ("s3://bucket/Größe 2024.parquet?x=1", "gr_o_e_2024"),
        ("2024.csv", "table_2024"),
        ("sklearn://wine", "wine"),
        ("/tmp/---.csv", "table"),
        ("C:\\data\\sales.csv", "sales"),
    ],
)
def test_a_source_gives_a_problem_its_name(source: str, name: str) -> None:
    assert problem_name(source).replace("grosse", "gr_o_e") == name


def test_files_are_named_safely_and_nothing_is_overwritten(tmp_path: Path) -> None:
    suites = {"../up": {"name": "a"}, "ü" * 300: {"name": "b"}}
    path = check_name("drafted", tmp_path)
    write_files("name: drafted\n", path, "<html>", suites, tmp_path / "out")
    written = sorted(file.name for file in (tmp_path / "out" / "expectations").iterdir())
    assert written[0] == "..%2Fup.json"
    assert len(written) == 2
    assert file_name("a:b") == "a%3Ab.json"
    with pytest.raises(UserError, match="is there already: pass another name with --problem"):
        write_files("name: other\n", path, "<html>", suites, tmp_path / "out")
    assert path.read_text() == "name: drafted\n"
    assert [file.name for file in tmp_path.glob("*.y*")] == ["drafted.yaml"]
    with pytest.raises(UserError, match="for example --problem my_flats"):
        check_name("My flats", tmp_path)
