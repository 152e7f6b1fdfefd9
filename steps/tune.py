"""A candidate's hyperparameters searched before it is cross-validated."""

import sys
import time
from typing import Annotated

import pandas as pd
from zenml import step
from zenml.types import HTMLString

from millrace import selection, tuning
from millrace.contract import Problem
from millrace.features import FeatureState
from millrace.metrics import PRIMARY
from millrace.pages import render
from millrace.plots import tuning_plots
from millrace.settings import TrainingSettings
from millrace.tuning import Search, Tuning, TuningResult
from stacks.environment import home
from steps.caching import code_digest
from steps.materializers import Plots, PlotsMaterializer
from steps.train import CrossValidation, cores, fitting_rows

LINE_EVERY = 5.0


@step(output_materializers={"tuning_plots": PlotsMaterializer})
def tune(
    gold: pd.DataFrame,
    training_rows: pd.DataFrame,
    state: FeatureState,
    problem: Problem,
    plan: CrossValidation,
    budget: Tuning,
) -> tuple[
    Annotated[CrossValidation, "plan"],
    Annotated[TuningResult, "tuning"],
    Annotated[Plots, "tuning_plots"],
    Annotated[HTMLString, "tuning_page"],
]:
    """Search the candidate's space; what comes out is the plan with the best settings."""
    folds = selection.make_folds(training_rows, problem, plan.folds, plan.seed)
    search = Search(
        candidate=plan.candidate,
        settings=plan.settings,
        space=budget.spaces[plan.candidate],
        rows=fitting_rows(gold, training_rows, state, problem),
        # The last ones: by time, those that are fitted on most.
        folds=folds[-budget.folds :],
        seed=plan.seed,
        code=code_digest(),
    )
    progress = Progress(plan.candidate, PRIMARY[problem.task], budget)
    result = tuning.tune(search, budget, storage=home() / "studies", threads=cores(), report=progress)
    progress.close(result)
    plots = Plots(tuning_plots(result))
    page = render("tuning", title=f"Tuning of {plan.candidate}", problem=problem, result=result, plots=plots)
    return plan.model_copy(update={"settings": result.settings}), result, plots, HTMLString(page)


@step
def take_tuned(
    settings: TrainingSettings, tunings: list[TuningResult]
) -> Annotated[TrainingSettings, "tuned_settings"]:
    """The run's settings with what tuning found."""
    return settings.tuned(tunings)


class Progress:
    """A line on standard error every few seconds: how far the search is, how good, what time it has left."""

    def __init__(self, candidate: str, metric: str, budget: Tuning) -> None:
        self.candidate, self.metric, self.budget = candidate, metric, budget
        self.began = self.said = time.monotonic()
        self.first: int | None = None

    def __call__(self, done: int, best: float) -> None:
        """Say how it stands after a trial, unless that was said a moment ago."""
        now = time.monotonic()
        # Trials of earlier runs took none of this one's time.
        self.first = done - 1 if self.first is None else self.first
        if now - self.said < LINE_EVERY:
            return
        self.said = now
        a_trial = (now - self.began) / (done - self.first)
        left = a_trial * (self.budget.trials - done)
        if self.budget.seconds is not None:
            left = min(left, max(self.budget.seconds - (now - self.began), 0))
        self._line(
            f"trial {done} of {self.budget.trials}, best {self.metric} {best:.4f}, {duration(left)} left"
        )

    def close(self, result: TuningResult) -> None:
        """Say what came of it."""
        pruned = len(result.of("pruned"))
        finished = len(result.of("complete")) + len(result.of("failed")) + pruned
        # Where nothing was left to do, no trial has been reported.
        earlier = finished if self.first is None else self.first
        self._line(
            f"{finished} trials, {pruned} pruned{f', {earlier} made by an earlier run' if earlier else ''}: "
            f"{result.metric_name} {result.best.metric:.4f}, hand-set {result.hand_set.metric:.4f}"
        )

    def _line(self, text: str) -> None:
        print(f"  tune_{self.candidate}: {text}", file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """About how long, in words."""
    return f"about {seconds / 60:.0f} min" if seconds >= 90 else f"about {seconds:.0f} s"
