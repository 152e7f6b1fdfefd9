"""Tuning: what is searched, what is pruned, and what a kill leaves."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from millrace import tuning
from millrace.errors import UserError
from millrace.metrics import Outcome
from millrace.pages import render
from millrace.plots import tuning_plots
from millrace.selection import FoldRows, cross_validate, make_folds
from millrace.settings import TrainingSettings
from millrace.tuning import Space, Trial, Tuning, TuningResult, tune
from tests.millrace.cases import make_case, make_problem, settings
from tests.millrace.conftest import ROOT
from tests.millrace.searching import SPACE, make_search, searched

TRIALS = 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> TuningResult:
    """A search that nothing interrupted."""
    return searched(tmp_path_factory.mktemp("whole"), TRIALS)


def told(result: TuningResult) -> list[tuple[Any, ...]]:
    """The trials without what depends on the clock, and without the killed ones."""
    return [(t.state, t.parameters, t.scores) for t in result.trials if t.state != "killed"]


def start(folder: Path, *numbers: int) -> "subprocess.Popen[str]":
    """The search in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.millrace.searching", str(folder), *map(str, numbers)],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
    )


def test_the_hand_set_settings_are_tried_first_and_never_beaten_by_worse(whole: TuningResult) -> None:
    given = settings("lightgbm")
    assert whole.trials[0] == whole.hand_set
    assert whole.trials[0].parameters == {name: getattr(given, name) for name in SPACE}
    assert whole.best.metric < whole.hand_set.metric
    assert whole.best.metric == min(trial.metric for trial in whole.of("complete"))
    assert whole.settings == tuning.changed(given, whole.best.parameters)
    assert len(whole.trials) == TRIALS


def test_a_trial_scores_what_cross_validation_would(whole: TuningResult) -> None:
    search = make_search()
    for trial in (whole.hand_set, whole.best):
        tried = tuning.changed(search.settings, trial.parameters)
        result, _ = cross_validate("trees", tried, search.rows, search.folds, seed=0, threads=1)
        assert tuple(result.scores) == trial.scores


def test_every_trial_is_in_its_space(whole: TuningResult) -> None:
    for trial in whole.trials:
        assert 0.01 <= trial.parameters["learning_rate"] <= 0.5
        assert trial.parameters["num_leaves"] in range(2, 41)
        assert trial.parameters["reg_lambda"] in (0.0, 1.0, 10.0)
    assert len({trial.parameters["num_leaves"] for trial in whole.trials}) > 5


def test_what_falls_behind_the_median_is_pruned_and_nothing_else(whole: TuningResult) -> None:
    complete: list[Any] = []
    for trial in whole.trials:
        lead = [np.mean(trial.scores[:n]) - np.mean(whole.hand_set.scores[:n]) for n in (1, 2, 3)]
        lead = lead[: len(trial.scores)]
        # Of the steps that it could be pruned at: not after the last fold, and not among the first five.
        behind = [
            min(lead[: step + 1]) > np.median([other[step] for other in complete])
            for step in range(min(len(lead), 2))
            if len(complete) >= 5
        ]
        assert behind == [False] * (len(behind) - 1) + [trial.state == "pruned"] * bool(behind)
        assert (len(trial.scores) < 3) == (trial.state == "pruned")
        if trial.state == "complete":
            complete.append(lead)
    assert len(whole.of("pruned")) >= 3


def test_a_search_in_pieces_on_other_processors_makes_the_same_trials(
    whole: TuningResult, tmp_path: Path
) -> None:
    for trials in (1, 7, TRIALS):
        result = searched(tmp_path, trials, threads=1)
        assert len(result.trials) == trials
    assert told(result) == told(whole)
    assert result.importance == whole.importance


def test_killed_it_goes_on_with_its_trials_and_makes_those_that_were_left(
    whole: TuningResult, tmp_path: Path
) -> None:
    for finished in (0, 6):
        process = start(tmp_path, TRIALS, finished)
        assert process.stdout is not None
        assert process.stdout.readline() == "hangs\n"
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    result = searched(tmp_path, TRIALS)
    killed = result.of("killed")
    assert [trial.number for trial in killed] == [0, 7]
    assert all(trial.scores == () and trial.seconds is None for trial in killed)
    # The hand-set settings again, then all that was finished and what was left, as if nothing had been.
    assert killed[0].parameters == result.hand_set.parameters
    assert told(result) == told(whole)
    assert len(result.trials) == TRIALS + 2


def test_two_processes_share_one_search(whole: TuningResult, tmp_path: Path) -> None:
    processes = [start(tmp_path, 6) for _ in range(2)]
    assert [process.communicate(timeout=120)[0] for process in processes] == ["done\n"] * 2
    assert told(searched(tmp_path, 6)) == told(whole)[:6]


def test_the_time_that_earlier_runs_took_counts(tmp_path: Path) -> None:
    for _ in range(2):
        result = tune(
            make_search(),
            Tuning(trials=50, seconds=1e-6),
            storage=tmp_path,
            threads=1,
            report=lambda *_: None,
        )
        assert result.trials == (result.hand_set,)
    assert result.settings == settings("lightgbm")


def test_whatever_scores_depend_on_makes_another_study() -> None:
    case = make_case("regression")
    names = {
        make_search(**changes).name
        for changes in (
            {},
            {"candidate": "other"},
            {"seed": 1},
            {"code": "changed"},
            {"settings": settings("lightgbm", n_estimators=9)},
            {"space": SPACE | {"num_leaves": Space(low=2, high=41, log=True)}},
            {"folds": make_folds(case.table, case.problem, 4, seed=0)},
            {"folds": make_folds(case.table, case.problem, 3, seed=1)},
            {"rows": case.rows.take(np.arange(200))},
            {"rows": make_case("binary").rows},
        )
    }
    assert len(names) == 10
    assert make_search().name == make_search().name


def answering(bad: float) -> Any:
    """`FoldRows.outcome`, with predictions that are no numbers for one learning rate."""
    real = FoldRows.outcome

    def outcome(fold: FoldRows, tried: Any, *, seed: int) -> Outcome:
        found = real(fold, tried, seed=seed)
        diverged = np.nan if tried.learning_rate == bad else 1.0
        return Outcome(found.problem, found.target, found.predicted * diverged)

    return outcome


def test_a_trial_without_a_finite_score_failed_and_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = {"learning_rate": Space(choices=(0.1, 0.5))}
    real = FoldRows.outcome
    monkeypatch.setattr(FoldRows, "outcome", answering(0.5))
    result = searched(tmp_path, 4, make_search(space=space))
    assert len(result.trials) == 4
    assert {t.state for t in result.trials if t.parameters["learning_rate"] == 0.5} == {"failed"}
    assert result.settings == settings("lightgbm")
    monkeypatch.setattr(FoldRows, "outcome", real)
    monkeypatch.setattr(FoldRows, "outcome", answering(0.1))
    with pytest.raises(UserError, match="The hand-set settings of candidate 'trees' give no finite rmse"):
        searched(tmp_path / "other", 4, make_search(space=space))


def test_classes_are_searched_by_log_loss(tmp_path: Path) -> None:
    case = make_case("multiclass")
    folds = make_folds(case.table, case.problem, 3, seed=0)
    result = searched(tmp_path, 3, make_search(rows=case.rows, folds=folds))
    assert result.metric_name == "log_loss"
    assert result.best.metric <= result.hand_set.metric


def test_the_page_shows_every_trial_and_the_plots(whole: TuningResult) -> None:
    plots = tuning_plots(whole)
    assert list(plots) == ["history", "importance"]
    assert sum(whole.importance.values()) == pytest.approx(1)
    page = render("tuning", title="Tuning", problem=make_problem(), result=whole, plots=plots)
    assert page.count("<tr>") == 1 + len(SPACE) + 1 + TRIALS
    assert "0.01 to 0.5, logarithmic" in page
    assert "0.0 or 1.0 or 10.0" in page
    assert page.count("data:image/png") == 2


def test_a_search_of_one_trial_can_be_drawn(tmp_path: Path) -> None:
    result = searched(tmp_path, 1)
    killed = Trial(number=9, state="killed", parameters={}, scores=(), started=0.0, seconds=None)
    result = result.model_copy(update={"trials": (*result.trials, killed)})
    plots = tuning_plots(result)
    assert list(plots) == ["history"]
    page = render("tuning", title="Tuning", problem=make_problem(), result=result, plots=plots)
    assert "Nothing was better than the hand-set values" in page
    assert "1 killed with their process" in page


def shipped(problems: Path) -> dict[str, Any]:
    parameters: dict[str, Any] = yaml.safe_load((problems.parent / "training.yaml").read_text())["parameters"]
    return dict(parameters["settings"])


def test_the_shipped_spaces_can_be_searched_and_nothing_is_unless_asked(problems: Path) -> None:
    parameters = shipped(problems)
    assert TrainingSettings.model_validate(parameters).searched == {}
    parameters["tuning"]["trials"] = 5
    assert list(TrainingSettings.model_validate(parameters).searched) == ["lightgbm"]


def test_spaces_of_absent_candidates_matter_only_when_they_are_searched(problems: Path) -> None:
    parameters = shipped(problems)
    del parameters["candidates"]["lightgbm"]
    assert TrainingSettings.model_validate(parameters).searched == {}
    parameters["tuning"]["trials"] = 5
    with pytest.raises(ValidationError, match="Unknown candidate 'lightgbm'"):
        TrainingSettings.model_validate(parameters)


def test_tuned_settings_take_the_place_of_the_hand_set_ones(whole: TuningResult) -> None:
    given = TrainingSettings.model_validate(
        {"candidates": {"trees": {"kind": "lightgbm"}, "linear": {"kind": "linear"}}}
    )
    tuned = given.tuned([whole])
    assert tuned.candidates["trees"] == whole.settings
    assert tuned.candidates["linear"] == given.candidates["linear"]
    assert list(tuned.candidates) == list(given.candidates)


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({"low": 1, "high": 2, "step": 1}, "Extra inputs"),
        ({}, "needs 'low' and 'high'"),
        ({"low": 3}, "needs 'low' and 'high'"),
        ({"low": 3, "high": 3}, "must be below"),
        ({"low": 30, "high": 3}, "30 is not below 3"),
        ({"low": 0, "high": 3, "log": True}, "'log' needs"),
        ({"low": float("nan"), "high": 3}, "finite"),
        ({"low": 1, "high": 1e300}, "less than or equal"),
        ({"low": 1, "high": 3, "choices": [1, 2]}, "not both"),
        ({"choices": []}, "at least two"),
        ({"choices": [1]}, "at least two"),
        ({"choices": [1, 1]}, "at least two"),
        ({"choices": [[1], [2]]}, "are numbers, texts"),
        ({"low": 2, "high": 3, "parameter": "num_leafs"}, "Did you mean 'num_leaves'"),
        ({"low": 2, "high": 3, "parameter": "kind"}, "Unknown hyperparameter of lightgbm 'kind'"),
        ({"low": 1, "high": 50}, "lightgbm does not take 1: input should be greater than or equal to 2"),
        ({"low": 2, "high": 5000}, "lightgbm does not take 5000: input should be less"),
        ({"low": 2.5, "high": 50}, "lightgbm does not take 2.5: input should be a valid integer"),
        ({"choices": [40, "many"]}, "lightgbm does not take many"),
        ({"choices": [40, None]}, "lightgbm does not take None"),
        ({"low": 50, "high": 90}, "the hand-set value 40 is not in its space, 50 to 90"),
        ({"choices": [20, 30]}, "the hand-set value 40 is not in its space, 20 or 30"),
    ],
)
def test_impossible_spaces_are_refused_where_they_stand(space: dict[str, Any], says: str) -> None:
    parameter = space.pop("parameter", "num_leaves")
    candidates = {"trees": {"kind": "lightgbm"}}
    with pytest.raises(ValidationError, match=says) as refused:
        TrainingSettings.model_validate(
            {"candidates": candidates, "tuning": {"trials": 5, "spaces": {"trees": {parameter: space}}}}
        )
    assert refused.value.errors()[0]["loc"][:4] == ("tuning", "spaces", "trees", parameter)


@pytest.mark.parametrize(
    ("tuning", "says"),
    [
        ({"trials": 5}, "names nothing to search"),
        ({"trials": 5, "spaces": {"trees": {}}}, "names nothing to search"),
        ({"seconds": 60}, "limits a search without trials"),
        ({"trials": -1}, "greater than or equal to 0"),
        ({"trials": 5, "seconds": 0}, "greater than 0"),
        ({"trials": 5, "seconds": float("inf")}, "finite"),
        ({"trials": 5, "folds": 0}, "greater than or equal to 1"),
        ({"trials": 5, "spaces": {"tree": {"num_leaves": {"low": 2, "high": 50}}}}, "Did you mean 'trees'"),
    ],
)
def test_budgets_that_make_no_sense_are_refused(tuning: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        TrainingSettings.model_validate({"candidates": {"trees": {"kind": "lightgbm"}}, "tuning": tuning})
