"""Pages: what comes from data is text, and a forgotten value is an error."""

import pytest
from jinja2 import UndefinedError

from millrace.pages import render
from millrace.quality import Check, Report
from tests.millrace.cases import make_problem


def checks_page(sample: str) -> str:
    """A page of one failed check with this sample."""
    check = Check(
        rule="expect_x", column="size", expected="be good", severity="critical", passed=False,
        unexpected=1, rows=2, samples=(sample,),
    )  # fmt: skip
    report = Report(layer="bronze", checks=(check,))
    return render("checks", title="Checks", problem=make_problem(), report=report, rows=2)


def test_what_stands_in_a_table_is_no_markup() -> None:
    page = checks_page("<script>alert(1)</script>")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_page_says_what_failed() -> None:
    assert "be good" in checks_page("7")


def test_a_value_that_is_not_given_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("checks", title="Checks", problem=make_problem(), rows=2)
