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
from steps.materializers import FittedModelMaterializer, Plots, PlotsMaterializer


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


@step
def cross_validate(
    gold: pd.DataFrame, state: FeatureState, problem: Problem, plan: CrossValidation
) -> Annotated[CandidateResult, "candidate"]:
    """Fit and score one candidate on every fold."""
    return selection.cross_validate(
        plan.candidate,
        plan.settings,
        training_rows(gold, state, problem),
        folds=plan.folds,
        seed=plan.seed,
        threads=cores(),
    )


@step(output_materializers={"model": FittedModelMaterializer, "leaderboard_plot": PlotsMaterializer})
def fit_best(
    gold: pd.DataFrame,
    state: FeatureState,
    problem: Problem,
    settings: TrainingSettings,
    results: list[CandidateResult],
) -> tuple[
    Annotated[FittedModel, "model"],
    Annotated[Leaderboard, "leaderboard"],
    Annotated[Plots, "leaderboard_plot"],
    Annotated[HTMLString, "leaderboard_page"],
]:
    """Fit the best candidate on all training rows."""
    ranked = selection.leaderboard(results, problem.task)
    best = settings.candidates[ranked[0].candidate]
    rows = training_rows(gold, state, problem)
    model = fit_model(best, rows, seed=settings.seed, threads=cores())
    metric = PRIMARY[problem.task]
    plot = plots.comparison_plot(ranked, metric)
    page = render(
        "leaderboard", title="Candidates", problem=problem, entries=ranked, metric=metric, plot=plot
    )
    return (
        FittedModel(problem, state, model),
        Leaderboard(metric_name=metric, results=tuple(ranked)),
        Plots(candidates=plot),
        HTMLString(page),
    )


def training_rows(gold: pd.DataFrame, state: FeatureState, problem: Problem) -> TrainingRows:
    """The gold table as models take it."""
    return TrainingRows(
        matrix=gold[state.names].to_numpy(),
        target=gold[GOLD_TARGET].to_numpy(),
        task=problem.task,
        classes=len(problem.classes),
        state=state,
    )


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))
