"""The training settings."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from millrace.settings import TrainingSettings

ONE = {"one": {"kind": "linear"}}


def test_the_shipped_run_configuration_is_valid_and_tries_every_kind(problems: Path) -> None:
    parameters = yaml.safe_load((problems.parent / "training.yaml").read_text())["parameters"]
    settings = TrainingSettings.model_validate(parameters["settings"])
    assert {candidate.kind for candidate in settings.candidates.values()} == {
        "linear",
        "random_forest",
        "lightgbm",
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"candidates": {}},
        {"candidates": {"Upper": {"kind": "linear"}}},
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
        {"unknown": 1},
    ],
)
def test_settings_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TrainingSettings.model_validate({"candidates": ONE} | changes)


def test_defaults_need_only_a_candidate() -> None:
    settings = TrainingSettings.model_validate({"candidates": ONE})
    assert (settings.seed, settings.folds, settings.confidence) == (0, 5, 0.95)
