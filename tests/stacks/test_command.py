"""The command line's part in stacks, in this process."""

import pytest

import run
from tests.conftest import Home


def test_what_to_run_must_be_said_unless_only_the_stack_is_looked_at(
    opened: Home,  # noqa: ARG001
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run.main([]) == 2
    told = capsys.readouterr().err
    assert told == f"error: Say what to run: --pipeline with one of {', '.join(run.PIPELINES)}; or --check.\n"
    assert run.main(["--check"]) == 0
    # The table breaks a long path where it ends, at any terminal's width.
    assert "writable" in capsys.readouterr().out


def test_an_unknown_stack_is_told_with_the_nearest(capsys: pytest.CaptureFixture[str], opened: Home) -> None:  # noqa: ARG001
    assert run.main(["--check", "--stack", "stagin"]) == 2
    assert "Unknown stack 'stagin'. Did you mean 'staging'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("promotion --to staging", "pass --from STACK"),
        ("promotion --from local", "pass --to STACK"),
        ("promotion --from local --stack staging", "pass --to STACK, not --stack"),
        ("promotion --from local --to local", "--from and --to are both 'local'"),
        ("promotion --from lokal --to local", "Unknown stack 'lokal'. Did you mean 'local'?"),
        ("promotion --from staging --to lokal", "Unknown stack 'lokal'. Did you mean 'local'?"),
        ("promotion --from staging --to local --problem iriss", "Unknown problem 'iriss'"),
        ("promotion --to local --roll-back --version 3", "--version is not for --roll-back"),
        ("promotion --to local --roll-back --data x.csv", "--data is not for --pipeline promotion"),
        ("training --dry-run --to local", "--to is for --pipeline promotion"),
        ("promotion --to local --roll-back", "no champion of 'housing_sample' before the present one"),
        ("promotion --to local --roll-back --dry-run", "no champion of 'housing_sample' before"),
    ],
)
def test_what_promotion_cannot_do_is_one_sentence(
    line: str,
    told: str,
    opened: Home,  # noqa: ARG001
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run.main(["--pipeline", *line.split()]) == 2
    assert told in capsys.readouterr().err
