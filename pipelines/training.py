"""Training: from a source to a promoted model, packed to serve."""

import time
from pathlib import Path
from typing import Any

from zenml import pipeline
from zenml.enums import ExecutionMode

from millrace.contract import Problem
from millrace.engine import EngineChoice, EngineName
from millrace.errors import UserError
from millrace.settings import TrainingSettings
from millrace.sources import Source
from pipelines.closing import write_summary
from pipelines.configuration import load_configuration
from pipelines.judging import judge_and_pack
from pipelines.launch import launch
from pipelines.summary import print_summary, summarise
from stacks.environment import home
from stacks.progress import StepLines
from stacks.stack_files import Stack
from steps.caching import cache_policy
from steps.check import check_bronze, check_gold, check_silver
from steps.ingest import ingest, read_secret
from steps.prepare import clean, featurize, split
from steps.train import CrossValidation, blend, cross_validate, fit_best
from steps.tune import take_tuned, tune


@pipeline(execution_mode=ExecutionMode.FAIL_FAST, cache_policy=cache_policy())
def training(problem: Problem, settings: TrainingSettings, source: Source, cache: str) -> None:
    """Train, judge and pack a model of `problem` on the rows of `source`."""
    train_on(ingest(problem, source, cache), problem, settings)


def train_on(bronze: Any, problem: Problem, settings: TrainingSettings, recent: Any = None) -> None:
    """The graph from a bronze table to the champion's Bento; all that are `Any` are artifacts.

    The model is judged on those of the rows held out that are among the `recent` ones, if there are any.
    """
    _, _, _ = check_bronze(
        bronze, problem, min_rows=2 * settings.folds, bad_rows_limit=settings.bad_rows_limit
    )
    silver, _, _ = clean(bronze, problem, settings.bad_rows_limit, after="check_bronze")
    check_silver(silver, problem)
    training_rows, holdout_rows, record = split(silver, problem, recent, after="check_silver")
    gold, state = featurize(training_rows, problem)
    check_gold(gold, state, problem)

    plans: dict[str, Any] = {
        name: CrossValidation(
            candidate=name,
            settings=candidate,
            folds=settings.folds,
            repeats=settings.repeats,
            seed=settings.seed,
        )
        for name, candidate in settings.candidates_for(problem).items()
    }
    blended = settings.blend and len(plans) > 1
    tunings = []
    for name in settings.searched:
        plans[name], tuned, _, _ = tune(
            gold,
            training_rows,
            state,
            problem,
            plans[name],
            settings.tuning,
            id=f"tune_{name}",
            after="check_gold",
        )
        tunings.append(tuned)
    if tunings:
        settings = take_tuned(settings, tunings)

    validated = [
        cross_validate(
            gold, training_rows, state, problem, plan, id=f"cross_validate_{name}", after="check_gold"
        )
        for name, plan in plans.items()
    ]
    results, out_of_folds = [list(outputs) for outputs in zip(*validated, strict=True)]
    if blended:
        result, predictions = blend(problem, results, out_of_folds)
        results, out_of_folds = [*results, result], [*out_of_folds, predictions]
    model, leaderboard, out_of_fold, leaderboard_plot, _ = fit_best(
        gold, training_rows, state, problem, settings, results, out_of_folds
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
    )


def run(
    problem: Problem,
    *,
    source: Source,
    engine: EngineName | None,
    scheduler: str | None,
    config: Path,
    overrides: list[str],
    use_cache: bool,
    summary: Path | None,
    started: float,
    stack: Stack,
    lines: StepLines,
) -> None:
    """Run the pipeline, or for a table that is too long for memory the one for such; say what came of it.

    Raises:
        UserError: for what the user can mend; nothing is then registered.
    """
    configuration = load_configuration(config, overrides, TrainingSettings)
    settings = configuration.settings
    settings.check(problem)
    parameters = {"problem": problem, "settings": settings, "source": source, "cache": str(home() / "cache")}
    chosen = training
    if is_large(source, problem, settings, sure=engine == "dask"):
        from pipelines.large_training import large_training

        chosen, on_disk = large_training, settings.on_disk(problem)
        parameters["settings"] = on_disk
        parameters["left_out"] = sorted(set(settings.candidates) - set(on_disk.candidates))
        parameters["engine"] = EngineChoice(name=engine or "local", scheduler=scheduler)
    elif engine == "dask":
        raise UserError(
            f"--engine dask is for tables of {settings.large.mib:g} MiB or more, which this one is not, as "
            "far as its files tell: leave it out, or lower the size: --set large.mib=MIB."
        )
    finished = launch(chosen, configuration.zenml, stack, use_cache, problem.name, **parameters)
    outcome = summarise(finished, problem, time.perf_counter() - started)
    if summary is not None:
        write_summary(outcome, summary)
    print_summary(outcome, settings.confidence, cached="fit_best" not in lines.ran, stack=stack)


def is_large(source: Source, problem: Problem, settings: TrainingSettings, sure: bool) -> bool:
    """Whether a table's rows stay on disk; they do not where its size is unknown, unless it must be `sure`.

    Raises:
        UserError: it must be, and cannot.
    """
    enough = int(settings.large.mib * 2**20)
    if not enough:
        return True
    from millrace.sources.streams import find_size

    try:
        return find_size(source, problem.columns, enough, read_secret) >= enough
    except UserError:
        if sure:
            raise
        # What is wrong with a source is for the step that reads it to say.
        return False
