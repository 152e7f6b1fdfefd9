"""The training settings."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from millrace.errors import UserError
from millrace.promotion import Limits
from millrace.settings import TrainingSettings
from tests.millrace.cases import make_problem

ONE = {"one": {"kind": "linear"}}


def test_the_shipped_run_configuration_is_valid_and_tries_every_kind(problems: Path) -> None:
    parameters = yaml.safe_load((problems.parent / "training.yaml").read_text())["parameters"]
    settings = TrainingSettings.model_validate(parameters["settings"])
    assert {candidate.kind for candidate in settings.candidates.values()} == {
        "linear",
        "random_forest",
        "hist_boosting",
        "lightgbm",
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"candidates": {}},
        {"candidates": {"Upper": {"kind": "linear"}}},
        {"candidates": {"blend": {"kind": "linear"}}},
        {"candidates": {"one": {"kind": "blend"}}},
        {"candidates": {"one": {"kind": "hist_boosting", "max_iter": 0}}},
        {"candidates": {"one": {"kind": "linear", "alpha": 0}}},
        {"candidates": {"one": {"kind": "linear", "alpha": float("inf")}}},
        {"candidates": {"one": {"kind": "lightgbm", "reg_lambda": float("inf")}}},
        {"candidates": {"one": {"kind": "random_forest", "n_estimators": 0}}},
        {"folds": 1},
        {"seed": -1},
        {"seed": 2**31},
        {"bootstrap": 99},
        {"confidence": 0.5},
        {"confidence": 1},
        {"confidence": float("nan")},
        {"bad_rows_limit": 1},
        {"bad_rows_limit": -0.1},
        {"repeats": 0},
        {"repeats": 21},
        {"promotion": {"worst_slice": 0.9}},
        {"promotion": {"worst_slice": float("inf")}},
        {"promotion": {"latency_ms": 0}},
        {"promotion": {"size_mb": float("inf")}},
        {"promotion": {"speed": 1}},
        {"candidates": {"baseline": {"kind": "linear"}}},
        {"unknown": 1},
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrainingSettings.model_validate({"candidates": ONE} | changes)


def test_defaults_need_only_a_candidate() -> None:
    settings = TrainingSettings.model_validate({"candidates": ONE})
    assert (settings.seed, settings.folds, settings.confidence) == (0, 5, 0.95)
    assert settings.promotion == Limits(worst_slice=1.1)
    # Whoever says what promotion weighs has said all of it.
    said = TrainingSettings.model_validate({"candidates": ONE, "promotion": {"size_mb": 5}})
    assert said.promotion == Limits(worst_slice=None, size_mb=5)


def test_candidates_that_cannot_promise_a_direction_are_left_out() -> None:
    free, bound = (
        make_problem(),
        make_problem(features={"size": {"type": "number", "monotonic": "increasing"}}, key=None),
    )
    both = TrainingSettings.model_validate({"candidates": {**ONE, "two": {"kind": "lightgbm"}}})
    assert list(both.candidates_for(free)) == ["one", "two"]
    assert list(both.candidates_for(bound)) == ["two"]
    both.check(bound)
    one = TrainingSettings.model_validate({"candidates": ONE})
    one.check(free)
    with pytest.raises(
        UserError, match=r"'size' is 'monotonic', which none of the candidates one can.*lightgbm"
    ):
        one.check(bound)


def test_a_split_by_time_has_no_repeats() -> None:
    problem = make_problem(split={"by": "time", "column": "floor"})
    TrainingSettings.model_validate({"candidates": ONE}).check(problem)
    with pytest.raises(UserError, match=r"'repeats' is 2.*--set repeats=1"):
        TrainingSettings.model_validate({"candidates": ONE, "repeats": 2}).check(problem)
