"""The page of a table: complete, self-contained, and drawn of whatever the table holds."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from millrace.profiling.drafting import make_draft
from millrace.profiling.page import profile_page
from millrace.profiling.settings import ProfilingSettings
from tests.millrace.traps import trap_table

SETTINGS = ProfilingSettings.model_validate({})
N = 60


def page_of(columns: dict[str, Any], target: str = "y", **settings: Any) -> str:
    """The page of a table with these columns."""
    raw, chosen = pa.table(columns), ProfilingSettings.model_validate(settings)
    draft = make_draft(raw, "t.csv", name="d", source="t.csv", target=target, settings=chosen)
    return profile_page(raw, draft, chosen)


def test_a_page_shows_every_column_and_loads_nothing() -> None:
    columns = trap_table(rows=120)
    page = page_of(columns, "rent", plotted_rows=100)
    assert all(f'id="column-{position}"' in page for position in range(len(columns)))
    assert "a seeded sample of 100 rows" in page
    assert "rank correlations" in page
    assert "Empty together" in page
    assert not [word for word in ("<script", "<link", 'src="http', "@import") if word in page]
    # Every drawn column, the correlations and the empty cells; not ids, the constant, the empty column.
    assert page.count("data:image/png") == len(columns) - 4 + 2


def test_what_stands_in_a_table_is_no_markup_and_no_formula() -> None:
    rng = np.random.default_rng(0)
    texts = ["<script>alert(1)</script>", "$x^$", "{y}", "%d"]
    columns = {"<b>$_$": rng.choice(texts, N), "n": rng.random(N), "y": rng.choice(["a$^$", "<i>", "c"], N)}
    page = page_of(columns)
    assert "<script" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("target", ["numbers", "classes"])
@pytest.mark.parametrize(
    "values",
    [
        np.repeat([1e-320, 5e-324, 2.0], N // 3),
        np.repeat([-3.4e38, 0.0, 3.4e38], N // 3),
        [None] * (N - 2) + [1.5, 2.5],
        np.repeat(np.array(["0001-01-01", "9999-12-31"], "datetime64[us]"), N // 2),
        [None] * (N - 4) + ["a", "a", "b", "b"],
        [None] * (N - 2) + [True, False],
    ],
    ids=["tiny", "huge", "hardly known", "distant dates", "rare words", "rare truths"],
)
def test_columns_of_any_kind_can_be_drawn(values: Any, target: str) -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=N) if target == "numbers" else rng.choice(["a", "b", "c"], N)
    page = page_of({"x": pa.array(values), "noise": rng.random(N), "y": y})
    assert "distribution of x" in page
