"""The command line's part in stacks, in this process."""

import pytest

import run
from tests.conftest import Home


def test_what_to_run_must_be_said_unless_only_the_stack_is_looked_at(
    opened: Home,  # noqa: ARG001
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run.main([]) == 2
    assert (
        "Say what to run: --pipeline with one of training, profiling; or --check." in capsys.readouterr().err
    )
    assert run.main(["--check"]) == 0
    assert "is writable" in capsys.readouterr().out


def test_an_unknown_stack_is_told_with_the_nearest(capsys: pytest.CaptureFixture[str], opened: Home) -> None:  # noqa: ARG001
    assert run.main(["--check", "--stack", "stagin"]) == 2
    assert "Unknown stack 'stagin'. Did you mean 'staging'?" in capsys.readouterr().err
