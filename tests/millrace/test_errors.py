"""Errors that suggest the name that was meant."""

import pytest

from millrace.errors import nearest, unknown


@pytest.mark.parametrize(
    ("given", "expected"),
    [("hosing", " Did you mean 'Housing'?"), ("HOUSING", " Did you mean 'Housing'?"), ("xyz", ""), ("", "")],
)
def test_the_nearest_name_is_found_whatever_its_case(given: str, expected: str) -> None:
    assert nearest(given, ["Housing", "iris"]) == expected


def test_an_unknown_name_comes_with_the_known_ones() -> None:
    assert (
        str(unknown("problem", "irs", ["iris", "a"]))
        == "Unknown problem 'irs'. Did you mean 'iris'? Known: a, iris."
    )
    assert str(unknown("problem", "x", [])) == "Unknown problem 'x'. Known: none."
