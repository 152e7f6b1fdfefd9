"""What a service is told by its environment."""

import pytest

from bentos.settings import ServiceSettings, from_environment
from millrace.errors import UserError


def test_nothing_is_on_unless_it_is_set() -> None:
    assert from_environment({"MILLRACE_HOME": "/x", "PATH": "/bin"}) == ServiceSettings()


def test_variables_are_settings() -> None:
    found = from_environment(
        {
            "MILLRACE_SERVE_CHALLENGER": "houses:1f2e",
            "MILLRACE_SERVE_CHALLENGER_SHARE": "0.25",
            "MILLRACE_SERVE_CORS_ORIGINS": "https://a.example, https://b.example",
        }
    )
    assert (found.challenger, found.challenger_share) == ("houses:1f2e", 0.25)
    assert found.origins == ["https://a.example", "https://b.example"]


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("MILLRACE_SERVE_CHALENGER", "x", "Did you mean 'MILLRACE_SERVE_CHALLENGER'?"),
        ("MILLRACE_SERVE_CHALLENGER_SHARE", "2", "MILLRACE_SERVE_CHALLENGER_SHARE=2: Input should be less"),
        (
            "MILLRACE_SERVE_WATCH_SECONDS",
            "soon",
            "MILLRACE_SERVE_WATCH_SECONDS=soon: Input should be a valid",
        ),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence.replace("?", r"\?")):
        from_environment({name: value})
