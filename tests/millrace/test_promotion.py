"""Who becomes champion: only who is better beyond chance, on rows that neither was trained on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from millrace.bundle import SPLIT, Bundle, FittedModel, write_json
from millrace.contract import Problem
from millrace.features import encode_target
from millrace.footprint import Footprint
from millrace.metrics import PRIMARY, Floats, Outcome, resample, rmse
from millrace.promotion import (
    MIN_SHARED_ROWS,
    Limits,
    Rule,
    Scores,
    Verdict,
    against_baseline,
    against_champion,
    baseline_predictions,
    weigh,
    within_limits,
)
from millrace.splitting import split
from tests.millrace.cases import FEATURES, Case, make_case, make_fitted, make_problem, make_table

RULE = Rule(resamples=400, confidence=0.95, seed=0)


def champion_of(folder: Path, fitted: FittedModel, table: pd.DataFrame) -> Bundle:
    """A champion whose split record is that of `table`."""
    write_json(folder / SPLIT, split(table, fitted.problem)[2].model_dump(mode="json"))
    return Bundle(folder=folder, digest="0", fitted=fitted)


def scores_of(holdout: pd.DataFrame, problem: Problem, challenger: Floats) -> Scores:
    """A challenger's predictions beside the baseline's."""
    target = encode_target(holdout["y"], problem)
    return Scores(
        target, challenger, baseline_predictions(problem.task, target, len(target), len(problem.classes))
    )


def judged(folder: Path, case: Case, challenger: Any, rule: Rule = RULE) -> Verdict:
    """Challenge the linear model of a case with what `challenger` makes of its predictions and the target."""
    fitted = make_fitted(case.problem.task, "linear")
    holdout = split(case.table, case.problem)[1]
    target = encode_target(holdout["y"], case.problem)
    scores = scores_of(holdout, case.problem, challenger(fitted.predict(holdout), target))
    return against_champion(case.problem, scores, holdout, champion_of(folder, fitted, case.table), "7", rule)


def towards_truth(predicted: Floats, target: Floats) -> Floats:
    """Predictions moved halfway to the truth."""
    truth = target if predicted.ndim == 1 else np.eye(predicted.shape[1])[target.astype(int)]
    return (predicted + truth) / 2


def test_a_clearly_better_challenger_is_promoted(case: Case, tmp_path: Path) -> None:
    verdict = judged(tmp_path, case, towards_truth)
    assert verdict.promote
    assert verdict.metric == PRIMARY[case.problem.task]
    assert verdict.rows == round(0.2 * len(case.table))
    assert verdict.challenger is not None
    assert verdict.rival is not None
    assert verdict.challenger < verdict.rival
    assert verdict.improvement is not None
    assert verdict.improvement.value == pytest.approx(verdict.rival - verdict.challenger)
    assert 0 < verdict.improvement.low < verdict.improvement.value < verdict.improvement.high
    assert "of the champion, version 7 on the same 48 holdout rows" in verdict.reason
    assert "at least the 95% asked for" in verdict.reason


def test_an_equal_challenger_is_not_promoted(case: Case, tmp_path: Path) -> None:
    verdict = judged(tmp_path, case, lambda predicted, _: predicted)
    assert not verdict.promote
    assert verdict.challenger == verdict.rival
    assert "better in 0.0% of 400 resamples, less than the 95% asked for" in verdict.reason


def test_a_worse_challenger_is_not_promoted(case: Case, tmp_path: Path) -> None:
    verdict = judged(
        tmp_path, case, lambda predicted, target: 2 * predicted - towards_truth(predicted, target)
    )
    assert not verdict.promote
    assert verdict.improvement is not None
    assert verdict.improvement.value < 0


def a_little_better(predicted: Floats, target: Floats) -> Floats:
    """Predictions of which each is nudged at random, a little more often towards the truth."""
    rng = np.random.default_rng(0)
    nudge = rng.normal(loc=0.06, scale=0.3, size=len(target))
    return predicted + nudge * (target - predicted)


def test_the_confidence_asked_for_is_one_sided(tmp_path: Path) -> None:
    case = make_case("regression")
    holdout = split(case.table, case.problem)[1]
    target = encode_target(holdout["y"], case.problem)
    rival = make_fitted("regression", "linear").predict(holdout)
    ours = a_little_better(rival, target)
    wins = np.mean(
        [
            rmse(Outcome(case.problem, target, ours), weights)
            < rmse(Outcome(case.problem, target, rival), weights)
            for weights in resample(len(target), 400, seed=0)
        ]
    )
    assert 0.55 < wins < 0.95, "the challenger must be neither clearly better nor clearly worse"
    for asked in (wins - 0.02, wins, wins + 0.02):
        rule = Rule(resamples=400, confidence=float(asked), seed=0)
        assert judged(tmp_path, case, a_little_better, rule).promote == (wins >= asked)


def test_a_confidence_is_told_as_it_was_asked(tmp_path: Path) -> None:
    verdict = judged(tmp_path, make_case("regression"), towards_truth, Rule(100, 0.975, 0))
    assert "the 97.5% asked for" in verdict.reason


def test_a_chance_winner_is_promoted_about_as_rarely_as_asked() -> None:
    problem = make_problem()
    promoted = 0
    for trial in range(200):
        rng = np.random.default_rng(trial)
        scores = Scores(*(rng.normal(size=60) for _ in range(3)))
        promoted += against_baseline(problem, scores, Rule(resamples=100, confidence=0.9, seed=trial)).promote
    # Two models of equal skill: one in ten wins by luck, give or take three standard errors.
    assert 0.03 < promoted / 200 < 0.17


def test_the_first_model_must_beat_the_baseline(case: Case) -> None:
    target = case.rows.target
    simple = baseline_predictions(case.problem.task, target, len(target), len(case.problem.classes))
    good = make_fitted(case.problem.task, "linear").predict(case.table)
    assert against_baseline(case.problem, Scores(target, good, simple), RULE).promote
    verdict = against_baseline(case.problem, Scores(target, simple, simple), RULE)
    assert not verdict.promote
    assert "the baseline that predicts" in verdict.reason


def test_the_baseline_knows_only_the_training_target() -> None:
    assert baseline_predictions("regression", np.array([1.0, 3.0]), 3, 0).tolist() == [2.0, 2.0, 2.0]
    shares = baseline_predictions("multiclass", np.array([0.0, 0.0, 2.0, 0.0]), 2, 3)
    assert shares.tolist() == [[0.75, 0.0, 0.25]] * 2


def test_rows_that_the_champion_was_trained_on_do_not_count(tmp_path: Path) -> None:
    problem = make_problem(split={"seed": 1})
    case = make_case("regression")
    fitted = make_fitted("regression", "linear")
    champion = champion_of(tmp_path, fitted, case.table)
    holdout = split(case.table, problem)[1]
    shared = holdout["id"].isin(split(case.table, case.problem)[1]["id"]).to_numpy()
    assert MIN_SHARED_ROWS <= shared.sum() < len(holdout)
    # Perfect on the rows that the champion knows, hopeless on the others.
    challenger = np.where(shared, 1e3, holdout["y"])
    verdict = against_champion(problem, scores_of(holdout, problem, challenger), holdout, champion, "1", RULE)
    assert verdict.rows == shared.sum()
    assert not verdict.promote


def test_too_few_shared_rows_are_no_ground_for_a_verdict(tmp_path: Path) -> None:
    case = make_case("regression")
    champion = champion_of(tmp_path, make_fitted("regression", "linear"), case.table)
    training, held, _ = split(case.table, case.problem)
    holdout = pd.concat([held.head(MIN_SHARED_ROWS - 1), training.head(50)], ignore_index=True)
    scores = scores_of(holdout, case.problem, holdout["y"].to_numpy())
    verdict = against_champion(case.problem, scores, holdout, champion, "1", RULE)
    assert not verdict.promote
    assert verdict.rows == MIN_SHARED_ROWS - 1
    assert "only 9 holdout rows are unknown to the champion, version 1" in verdict.reason
    enough = pd.concat([held.head(MIN_SHARED_ROWS), training.head(50)], ignore_index=True)
    scores = scores_of(enough, case.problem, enough["y"].to_numpy())
    assert against_champion(case.problem, scores, enough, champion, "1", RULE).promote


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (make_problem("binary"), "predicts another target"),
        (make_problem(target={"name": "z", "type": "number"}), "predicts another target"),
        (
            make_problem(features={k: v for k, v in FEATURES.items() if k != "lift"}),
            "needs the column 'lift'",
        ),
        (
            make_problem(features=FEATURES | {"floor": {"type": "category", "categories": ["1", "2"]}}),
            "reads the column 'floor' as integer, not as category",
        ),
    ],
)
def test_a_champion_of_another_contract_is_left_to_a_person(
    tmp_path: Path, problem: Problem, expected: str
) -> None:
    case = make_case("regression")
    champion = champion_of(tmp_path, make_fitted("regression", "linear"), case.table)
    holdout = case.table.rename(columns={"y": problem.target.name})[list(problem.columns)]
    empty = np.zeros(0)
    verdict = against_champion(problem, Scores(empty, empty, empty), holdout, champion, "3", RULE)
    assert not verdict.promote
    assert expected in verdict.reason
    assert verdict.reason.endswith("a person must decide")


def test_a_champion_with_other_ranges_and_meanings_is_still_compared(tmp_path: Path) -> None:
    case = make_case("regression")
    changed = make_problem(
        features=FEATURES | {"floor": {"type": "number", "meaning": "storey", "range": [0, 99]}}
    )
    champion = champion_of(tmp_path, make_fitted("regression", "linear"), case.table)
    holdout = split(case.table, changed)[1]
    scores = scores_of(holdout, changed, holdout["y"].to_numpy())
    verdict = against_champion(changed, scores, holdout, champion, "3", RULE)
    assert verdict.promote
    assert verdict.rows == len(holdout)


def test_a_champion_of_older_times_is_judged_on_the_whole_later_holdout(tmp_path: Path) -> None:
    problem = make_problem(split={"by": "time", "column": "floor"})
    older = make_table(rows=200).assign(floor=np.arange(200.0))
    fitted = replace(make_fitted("regression", "linear"), problem=problem)
    champion = champion_of(tmp_path, fitted, older)
    grown = make_table(rows=300).assign(floor=np.arange(300.0))
    holdout = split(grown, problem)[1]
    verdict = against_champion(
        problem, scores_of(holdout, problem, holdout["y"].to_numpy()), holdout, champion, "1", RULE
    )
    assert verdict.rows == len(holdout) == 60
    # Of rows before the champion's cut, late as they may have come in, none counts.
    early = holdout.assign(floor=np.where(np.arange(60) < 20, 159.0, holdout["floor"]))
    scores = scores_of(early, problem, early["y"].to_numpy())
    assert against_champion(problem, scores, early, champion, "1", RULE).rows == 40


def test_a_champion_of_another_rule_is_judged_on_what_both_hold_out(tmp_path: Path) -> None:
    case = make_case("regression")
    champion = champion_of(tmp_path, make_fitted("regression", "linear"), case.table)
    problem = make_problem(split={"by": "group", "column": "id", "holdout": 0.5})
    holdout = split(case.table, problem)[1]
    shared = holdout["id"].isin(split(case.table, case.problem)[1]["id"]).sum()
    scores = scores_of(holdout, problem, holdout["y"].to_numpy())
    assert against_champion(problem, scores, holdout, champion, "1", RULE).rows == shared


def judged_by_slice(folder: Path, factors: dict[str, float], limit: float | None, rows: int = 600) -> Verdict:
    """Challenge a champion whose errors are grown or shrunk by `factors`, kind by kind."""
    case, table = make_case("regression"), make_table(rows=rows)
    table["kind"] = table["kind"].where(np.arange(rows) % 2 == 0, "boat")
    fitted = make_fitted("regression", "linear")
    holdout = split(table, case.problem)[1]
    champion = champion_of(folder, fitted, table)
    target, theirs = holdout["y"].to_numpy(), fitted.predict(holdout)
    factor = holdout["kind"].map(factors).astype(float).fillna(0.1).to_numpy()
    scores = scores_of(holdout, case.problem, target + factor * (theirs - target))
    return against_champion(case.problem, scores, holdout, champion, "3", RULE, limit)


def test_a_better_mean_does_not_make_up_for_a_worse_slice(tmp_path: Path) -> None:
    factors = {"flat": 0.1, "house": 1.3}
    verdict = judged_by_slice(tmp_path, factors, 1.1)
    metric, worst = verdict.criteria
    assert metric.held
    assert verdict.challenger is not None
    assert verdict.rival is not None
    assert verdict.challenger < verdict.rival
    assert not worst.held
    assert not verdict.promote
    assert worst.name.startswith("rmse of its worst slice, kind house (")
    assert worst.rival is not None
    assert worst.challenger == pytest.approx(1.3 * worst.rival)
    assert "asked for; but its worst slice, kind house, got worse: rmse" in verdict.reason
    assert verdict.reason.endswith("past the allowed 1.1 times that in 100.0% of resamples")
    for limit in (None, 1.4):
        assert judged_by_slice(tmp_path, factors, limit).promote


def test_noise_in_a_slice_refuses_nobody(tmp_path: Path) -> None:
    """A slice that is past the limit by luck of the draw, and not surely so."""
    case, table = make_case("regression"), make_table(rows=600)
    fitted = make_fitted("regression", "linear")
    holdout = split(table, case.problem)[1]
    target, theirs = holdout["y"].to_numpy(), fitted.predict(holdout)
    house = (holdout["kind"] == "house").to_numpy()
    # Better everywhere, but for two rows of one slice that are missed by much.
    ours = target + 0.3 * (theirs - target)
    ours[np.flatnonzero(house)[:2]] += 3
    scores = scores_of(holdout, case.problem, ours)
    rule = Rule(resamples=400, confidence=0.95, seed=0)
    verdict = against_champion(
        case.problem, scores, holdout, champion_of(tmp_path, fitted, table), "3", rule, 1.0
    )
    worst = verdict.criteria[1]
    assert "kind house" in worst.name
    assert worst.rival is not None
    assert worst.challenger > 1.1 * worst.rival
    assert (worst.held, worst.reason) == (True, "")


def test_a_slice_that_was_bad_before_is_no_reason(tmp_path: Path) -> None:
    verdict = judged_by_slice(tmp_path, {"flat": 0.2, "house": 0.9}, 1.0)
    assert verdict.promote
    assert [line.held for line in verdict.criteria] == [True, True]


def test_slices_too_small_to_judge_are_not_weighed(tmp_path: Path) -> None:
    verdict = judged_by_slice(tmp_path, {"flat": 0.1, "house": 1.3}, 1.1, rows=60)
    assert verdict.rows == 12
    assert [line.name for line in verdict.criteria] == ["rmse"]


LIGHT, HEAVY = Footprint(latency_ms=1.0, size_mb=0.5), Footprint(latency_ms=9.0, size_mb=80.0)


@pytest.mark.parametrize(
    ("limits", "footprint", "expected"),
    [
        (Limits(), HEAVY, None),
        (Limits(latency_ms=9, size_mb=80), HEAVY, None),
        (Limits(latency_ms=8.9), HEAVY, "its latency is 9 ms, at most 8.9 ms is allowed"),
        (Limits(size_mb=10), HEAVY, "its size is 80 MB, at most 10 MB is allowed"),
        (
            Limits(latency_ms=5, size_mb=10),
            HEAVY,
            "its latency is 9 ms, at most 5 ms is allowed; but its size",
        ),
        (Limits(latency_ms=5, size_mb=10), LIGHT, None),
    ],
)
def test_absolute_limits_hold_for_the_first_model_too(
    case: Case, limits: Limits, footprint: Footprint, expected: str | None
) -> None:
    target = case.rows.target
    simple = baseline_predictions(case.problem.task, target, len(target), len(case.problem.classes))
    good = make_fitted(case.problem.task, "linear").predict(case.table)
    better = against_baseline(case.problem, Scores(target, good, simple), RULE)
    verdict = weigh(better, within_limits(limits, footprint))
    assert [line.name for line in verdict.criteria[1:]] == ["latency (ms)", "size (MB)"]
    assert verdict.promote is (expected is None)
    assert verdict.reason.startswith(better.reason)
    assert verdict.reason == better.reason if expected is None else expected in verdict.reason
    # One that is no better is told so, and nothing of its weight.
    worse = against_baseline(case.problem, Scores(target, simple, simple), RULE)
    verdict = weigh(worse, within_limits(limits, footprint, LIGHT))
    assert (verdict.promote, verdict.reason) == (False, worse.reason)
    assert verdict.criteria[1].rival == 1.0
