"""The end of every training: what becomes of a model once it is fitted, wherever its rows were."""

from typing import Any

from steps.assess import evaluate, explain
from steps.bundle import bundle
from steps.promote import promote
from steps.register import register
from steps.serve import build_bento


def judge_and_pack(
    *,
    model: Any,
    bronze: Any,
    training_rows: Any,
    holdout_rows: Any,
    gold: Any,
    out_of_fold: Any,
    leaderboard: Any,
    leaderboard_plot: Any,
    split: Any,
    problem: Any,
    settings: Any,
    tunings: Any,
    account: Any = None,
) -> None:
    """Evaluate, explain, pack, register and promote a model, and build the champion's Bento.

    All are artifacts or parameters of the pipeline that calls it, under the names that the steps give them;
    `account` is of a table that stayed on disk.
    """
    evaluation, scores, evaluation_plots, _ = evaluate(
        model, holdout_rows, gold, out_of_fold, problem, settings
    )
    importance, explanation_plots, _ = explain(model, gold, problem, settings)
    packed = bundle(
        model,
        bronze,
        training_rows,
        holdout_rows,
        evaluation,
        evaluation_plots,
        importance,
        explanation_plots,
        leaderboard,
        split,
        settings,
        account,
    )
    registration = register(
        packed,
        training_rows,
        holdout_rows,
        problem,
        settings,
        leaderboard,
        evaluation,
        evaluation_plots,
        explanation_plots,
        leaderboard_plot,
        tunings,
    )
    promotion, _ = promote(registration, holdout_rows, scores, problem, settings)
    build_bento(promotion)
