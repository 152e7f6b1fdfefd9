"""Training on a table that is too long for memory: the rows stay on disk, and LightGBM learns from all."""

from typing import Any

from zenml import pipeline
from zenml.enums import ExecutionMode

from millrace.contract import Problem
from millrace.engine import EngineChoice
from millrace.settings import TrainingSettings
from millrace.sources import Source
from pipelines.judging import judge_and_pack
from steps.caching import cache_policy
from steps.check import check_bronze, check_gold, check_silver
from steps.store import featurize_drawn, store
from steps.train import CrossValidation
from steps.train_stored import cross_validate_stored, fit_best_stored, tune_stored
from steps.tune import take_tuned


@pipeline(execution_mode=ExecutionMode.FAIL_FAST, cache_policy=cache_policy())
def large_training(
    problem: Problem,
    settings: TrainingSettings,
    source: Source,
    cache: str,
    left_out: list[str],
    engine: EngineChoice,
) -> None:
    """Train, judge and pack a model of `problem` on all rows of `source`, and look at some of them.

    `settings` are those for rows on disk; candidates without a place in them are `left_out`.
    """
    bronze, _, training_rows, holdout_rows, record, rows, account = store(
        problem, source, cache, settings, engine
    )
    _, _, _ = check_bronze(
        bronze, problem, min_rows=2 * settings.folds, bad_rows_limit=settings.bad_rows_limit
    )
    # Rows that share a key are not set aside here, so that some of those drawn may is no reason to stop.
    check_silver(training_rows, problem.model_copy(update={"key": None}), after="check_bronze")
    gold, state = featurize_drawn(rows, training_rows, problem, after="check_silver")
    check_gold(gold, state, problem)

    plans: dict[str, Any] = {
        name: CrossValidation(
            candidate=name, settings=candidate, folds=settings.folds, repeats=1, seed=settings.seed
        )
        for name, candidate in settings.candidates.items()
    }
    tunings = []
    for name in settings.searched:
        plans[name], tuned, _, _ = tune_stored(
            rows, problem, plans[name], settings.tuning, engine, id=f"tune_{name}", after="check_gold"
        )
        tunings.append(tuned)
    if tunings:
        settings = take_tuned(settings, tunings)

    validated = [
        cross_validate_stored(rows, plan, engine, id=f"cross_validate_{name}", after="check_gold")
        for name, plan in plans.items()
    ]
    results, out_of_folds = [list(outputs) for outputs in zip(*validated, strict=True)]
    model, leaderboard, out_of_fold, leaderboard_plot, _ = fit_best_stored(
        rows, problem, settings, results, out_of_folds, left_out, engine, id="fit_best"
    )

    judge_and_pack(
        model=model,
        bronze=bronze,
        training_rows=training_rows,
        holdout_rows=holdout_rows,
        gold=gold,
        out_of_fold=out_of_fold,
        leaderboard=leaderboard,
        leaderboard_plot=leaderboard_plot,
        split=record,
        problem=problem,
        settings=settings,
        tunings=tunings,
        account=account,
    )
