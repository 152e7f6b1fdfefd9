"""Candidates compared by cross-validation, the best one fitted on all training rows."""

import os
from typing import Annotated

import pandas as pd
from zenml import step
from zenml.types import HTMLString

from millrace import plots, selection
from millrace.bundle import FittedModel
from millrace.contract import Problem, Strict
from millrace.features import FeatureState
from millrace.metrics import PRIMARY
from millrace.models import CandidateSettings, TrainingRows, fit_model
from millrace.pages import render
from millrace.quality import GOLD_TARGET
from millrace.selection import CandidateResult
from millrace.settings import TrainingSettings
from steps.materializers import FittedModelMaterializer, Plots, PlotsMaterializer, TableMaterializer


class CrossValidation(Strict):
    """What cross-validating one candidate depends on, and so what its cache key covers."""

    candidate: str
    settings: CandidateSettings
    folds: int
    seed: int


class Leaderboard(Strict):
    """The candidates, best first."""

    metric_name: str
    results: tuple[CandidateResult, ...]


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
        fitting_rows(gold, state, problem),
        selection.make_folds(training_rows, problem, plan.folds, plan.seed),
        seed=plan.seed,
        threads=cores(),
    )
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
    """Fit the best candidate on all training rows; its threshold comes from its out-of-fold predictions."""
    ranked = selection.leaderboard(results, problem.task)
    best = settings.candidates[ranked[0].candidate]
    out_of_fold = out_of_folds[results.index(ranked[0])]
    model = fit_model(best, fitting_rows(gold, state, problem), seed=settings.seed, threads=cores())
    fitted = FittedModel(problem, state, model, selection.threshold_for(out_of_fold, problem))
    metric = PRIMARY[problem.task]
    board = Leaderboard(metric_name=metric, results=tuple(ranked))
    plot = plots.comparison_plot(ranked, metric)
    page = render(
        "leaderboard", title="Candidates", problem=problem, entries=ranked, metric=metric, plot=plot
    )
    return fitted, board, out_of_fold, Plots(candidates=plot), HTMLString(page)


def fitting_rows(gold: pd.DataFrame, state: FeatureState, problem: Problem) -> TrainingRows:
    """The gold table as models take it."""
    return TrainingRows(gold[state.names].to_numpy(), gold[GOLD_TARGET].to_numpy(), problem, state)


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))
