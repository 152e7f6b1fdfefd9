"""Candidates compared by cross-validation, the best one fitted on all training rows."""

import os
from typing import Annotated

import pandas as pd
from zenml import step
from zenml.types import HTMLString

from millrace import plots, selection, stacking
from millrace.bundle import FittedModel
from millrace.contract import Problem
from millrace.features import FeatureState
from millrace.intervals import fit_intervals
from millrace.leaderboard import Leaderboard, compare
from millrace.models import CandidateSettings, Model, TrainingRows, fit_model
from millrace.pages import render
from millrace.quality import GOLD_TARGET
from millrace.selection import CandidateResult
from millrace.settings import TrainingSettings
from millrace.splitting import parts
from millrace.strict import Strict
from steps.materializers import FittedModelMaterializer, Plots, PlotsMaterializer, TableMaterializer


class CrossValidation(Strict):
    """What cross-validating one candidate depends on, and so what its cache key covers."""

    candidate: str
    settings: CandidateSettings
    folds: int
    repeats: int
    seed: int


@step(output_materializers={"out_of_fold": TableMaterializer})
def cross_validate(
    gold: pd.DataFrame,
    training_rows: pd.DataFrame,
    state: FeatureState,
    problem: Problem,
    plan: CrossValidation,
) -> tuple[Annotated[CandidateResult, "candidate"], Annotated[pd.DataFrame, "out_of_fold"]]:
    """Fit and score one candidate on every fold."""
    result, out_of_fold = selection.cross_validate(
        plan.candidate,
        plan.settings,
        fitting_rows(gold, training_rows, state, problem),
        selection.make_repeated_folds(training_rows, problem, plan.folds, plan.repeats, plan.seed),
        seed=plan.seed,
        threads=cores(),
    )
    return result, out_of_fold


@step(output_materializers={"out_of_fold": TableMaterializer})
def blend(
    problem: Problem, results: list[CandidateResult], out_of_folds: list[pd.DataFrame]
) -> tuple[Annotated[CandidateResult, "candidate"], Annotated[pd.DataFrame, "out_of_fold"]]:
    """The candidates' weighted mean as one more candidate, by their out-of-fold predictions."""
    result, out_of_fold = stacking.blend(results, out_of_folds, problem)
    return result, out_of_fold


@step(
    output_materializers={
        "model": FittedModelMaterializer,
        "out_of_fold": TableMaterializer,
        "leaderboard_plot": PlotsMaterializer,
    }
)
def fit_best(
    gold: pd.DataFrame,
    training_rows: pd.DataFrame,
    state: FeatureState,
    problem: Problem,
    settings: TrainingSettings,
    results: list[CandidateResult],
    out_of_folds: list[pd.DataFrame],
) -> tuple[
    Annotated[FittedModel, "model"],
    Annotated[Leaderboard, "leaderboard"],
    Annotated[pd.DataFrame, "out_of_fold"],
    Annotated[Plots, "leaderboard_plot"],
    Annotated[HTMLString, "leaderboard_page"],
]:
    """Fit the best candidate on all training rows; threshold and intervals are by its out-of-fold rows."""
    rows = fitting_rows(gold, training_rows, state, problem)
    folds = selection.make_repeated_folds(
        training_rows, problem, settings.folds, settings.repeats, settings.seed
    )
    left_out = sorted(set(settings.candidates) - set(settings.candidates_for(problem)))
    why = f"cannot keep predictions from turning along {', '.join(problem.monotonic)} ('monotonic')"
    board = compare(results, problem, rows.target, folds, left_out, why if left_out else "")
    best = next(result for result in results if result.candidate == board.results[0].candidate)
    out_of_fold = out_of_folds[results.index(best)]
    seed, threads = settings.seed, cores()
    model: Model
    if best.weights:
        model = stacking.fit_blend(best.weights, settings.candidates, rows, seed=seed, threads=threads)
    else:
        model = fit_model(settings.candidates[best.candidate], rows, seed=seed, threads=threads)
    threshold = selection.threshold_for(out_of_fold, problem)
    intervals = fit_intervals(selection.read_out_of_fold(out_of_fold, problem), out_of_fold["row"].to_numpy())
    fitted = FittedModel(problem, state, model, threshold, intervals)
    plot = plots.comparison_plot(list(board.results), board.metric_name)
    page = render("leaderboard", title="Candidates", problem=problem, board=board, plot=plot)
    return fitted, board, out_of_fold, Plots(candidates=plot), HTMLString(page)


def fitting_rows(
    gold: pd.DataFrame, training_rows: pd.DataFrame, state: FeatureState, problem: Problem
) -> TrainingRows:
    """The gold table as models take it."""
    matrix, target = gold[state.names].to_numpy(), gold[GOLD_TARGET].to_numpy()
    return TrainingRows(matrix, target, problem, state, parts(training_rows, problem))


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))
