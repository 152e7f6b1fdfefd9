"""Candidates compared, tuned and fitted on rows that stay on disk: LightGBM's, on all of them."""

from typing import Annotated

import pandas as pd
from zenml import step
from zenml.types import HTMLString

from millrace import large, plots, tuning
from millrace.bundle import FittedModel
from millrace.contract import Problem
from millrace.engine import EngineChoice
from millrace.large import Bins, StoredRows
from millrace.large.engines import growing
from millrace.large.search import StoredSearch
from millrace.large.training import conclude, known_folds, make_folds
from millrace.leaderboard import Leaderboard, compare
from millrace.metrics import PRIMARY
from millrace.models.boosting import LightGBMSettings
from millrace.pages import render
from millrace.plots import tuning_plots
from millrace.selection import CandidateResult
from millrace.settings import TrainingSettings
from millrace.tuning import Tuning, TuningResult
from stacks.environment import home
from steps.caching import code_digest
from steps.materializers import FittedModelMaterializer, Plots, PlotsMaterializer, TableMaterializer
from steps.train import CrossValidation, cores
from steps.tune import Progress

WHY_LEFT_OUT = "not LightGBM, which alone learns from rows on disk"


@step(output_materializers={"tuning_plots": PlotsMaterializer})
def tune_stored(
    rows: StoredRows, problem: Problem, plan: CrossValidation, budget: Tuning, engine: EngineChoice
) -> tuple[
    Annotated[CrossValidation, "plan"],
    Annotated[TuningResult, "tuning"],
    Annotated[Plots, "tuning_plots"],
    Annotated[HTMLString, "tuning_page"],
]:
    """Search the candidate's space, trial after trial on the same bins."""
    bins = Bins.of(rows)
    progress = Progress(plan.candidate, PRIMARY[problem.task], budget)
    with growing(engine, bins, cores()) as grow:
        search = StoredSearch.of(
            plan.candidate,
            plan.settings,
            budget.spaces[plan.candidate],
            make_folds(bins, grow, plan.folds)[-budget.folds :],
            seed=plan.seed,
            code=f"{code_digest()} {engine.name}",
        )
        # One fold at a time: each fit takes all processors.
        result = tuning.tune(search, budget, storage=home() / "studies", threads=1, report=progress)
    progress.close(result)
    plots = Plots(tuning_plots(result))
    page = render("tuning", title=f"Tuning of {plan.candidate}", problem=problem, result=result, plots=plots)
    return plan.model_copy(update={"settings": result.settings}), result, plots, HTMLString(page)


@step(output_materializers={"out_of_fold": TableMaterializer})
def cross_validate_stored(
    rows: StoredRows, plan: CrossValidation, engine: EngineChoice
) -> tuple[Annotated[CandidateResult, "candidate"], Annotated[pd.DataFrame, "out_of_fold"]]:
    """Fit and score one candidate on every fold of all rows."""
    bins = Bins.of(rows)
    with growing(engine, bins, cores()) as grow:
        result, out_of_fold = large.cross_validate(
            plan.candidate, plan.settings, make_folds(bins, grow, plan.folds), seed=plan.seed
        )
    return result, out_of_fold


@step(
    output_materializers={
        "model": FittedModelMaterializer,
        "out_of_fold": TableMaterializer,
        "leaderboard_plot": PlotsMaterializer,
    }
)
def fit_best_stored(
    rows: StoredRows,
    problem: Problem,
    settings: TrainingSettings,
    results: list[CandidateResult],
    out_of_folds: list[pd.DataFrame],
    left_out: list[str],
    engine: EngineChoice,
) -> tuple[
    Annotated[FittedModel, "model"],
    Annotated[Leaderboard, "leaderboard"],
    Annotated[pd.DataFrame, "out_of_fold"],
    Annotated[Plots, "leaderboard_plot"],
    Annotated[HTMLString, "leaderboard_page"],
]:
    """Fit the best candidate on all training rows; threshold and intervals are by out-of-fold rows."""
    first = out_of_folds[0]
    folds = known_folds(first, settings.folds)
    board = compare(results, problem, first["target"].to_numpy(), folds, left_out, WHY_LEFT_OUT)
    best = next(result for result in results if result.candidate == board.results[0].candidate)
    out_of_fold, chosen = out_of_folds[results.index(best)], settings.candidates[best.candidate]
    assert isinstance(chosen, LightGBMSettings), "the others have been left out"
    bins = Bins.of(rows)
    with growing(engine, bins, cores()) as grow:
        fitted = conclude(bins, grow(bins.used, chosen, settings.seed), out_of_fold)
    plot = plots.comparison_plot(list(board.results), board.metric_name)
    page = render("leaderboard", title="Candidates", problem=problem, board=board, plot=plot)
    return fitted, board, out_of_fold, Plots(candidates=plot), HTMLString(page)
