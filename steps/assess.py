"""The fitted model on the holdout, and why it predicts what it does."""

from typing import Annotated

import numpy as np
import pandas as pd
from zenml import step
from zenml.types import HTMLString

from millrace import evaluation, explanation
from millrace.bundle import FittedModel
from millrace.contract import Problem
from millrace.evaluation import Evaluation
from millrace.features import encode_target
from millrace.metrics import Outcome
from millrace.pages import render
from millrace.plots import evaluation_plots, explanation_plots, interval_plot
from millrace.promotion import Scores, baseline_predictions
from millrace.quality import GOLD_TARGET
from millrace.selection import read_out_of_fold
from millrace.settings import TrainingSettings
from steps.materializers import Plots, PlotsMaterializer, TableMaterializer
from steps.scores import to_table


@step(output_materializers={"evaluation_plots": PlotsMaterializer, "holdout_scores": TableMaterializer})
def evaluate(
    model: FittedModel,
    holdout_rows: pd.DataFrame,
    gold: pd.DataFrame,
    out_of_fold: pd.DataFrame,
    problem: Problem,
    settings: TrainingSettings,
) -> tuple[
    Annotated[Evaluation, "evaluation"],
    Annotated[pd.DataFrame, "holdout_scores"],
    Annotated[Plots, "evaluation_plots"],
    Annotated[HTMLString, "evaluation_page"],
]:
    """Score the holdout: metrics with intervals, slices, plots."""
    predicted = model.predict(holdout_rows)
    target = encode_target(holdout_rows[problem.target.name], problem)
    baseline = baseline_predictions(
        problem.task, gold[GOLD_TARGET].to_numpy(), len(target), len(problem.classes)
    )
    outcome = Outcome(problem, target, predicted, model.threshold)
    result = evaluation.evaluate(
        holdout_rows,
        outcome,
        baseline,
        model.intervals,
        resamples=settings.bootstrap,
        confidence=settings.confidence,
        seed=settings.seed,
    )
    scores = to_table(Scores(target, predicted, baseline))
    plots = Plots(evaluation_plots(outcome, read_out_of_fold(out_of_fold, problem)))
    plots["intervals"] = interval_plot(outcome, model.intervals)
    page = render(
        "evaluation",
        title="Holdout",
        problem=problem,
        evaluation=result,
        confidence=settings.confidence,
        plots=plots,
    )
    return result, scores, plots, HTMLString(page)


@step(output_materializers={"explanation_plots": PlotsMaterializer})
def explain(
    model: FittedModel, gold: pd.DataFrame, problem: Problem, settings: TrainingSettings
) -> tuple[
    Annotated[dict[str, float], "importance"],
    Annotated[Plots, "explanation_plots"],
    Annotated[HTMLString, "explanation_page"],
]:
    """SHAP values of a seeded sample of training rows."""
    matrix = gold[model.state.names].to_numpy()
    rng = np.random.default_rng(settings.seed)
    sample = rng.permutation(len(matrix))[: settings.explained_rows]
    contributions = explanation.explain(model, matrix[sample])
    plots = Plots(explanation_plots(contributions, problem))
    rows = len(contributions.values)
    page = render(
        "explanation",
        title="Explanation",
        problem=problem,
        rows=rows,
        scale=contributions.scale,
        one=contributions.for_row(0),
        plots=plots,
    )
    # ZenML would store a list as one artifact for each of its elements.
    importance = {item.feature: item.value for item in contributions.importance}
    return importance, plots, HTMLString(page)
