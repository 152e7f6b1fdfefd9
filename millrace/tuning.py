"""Search for a candidate's hyperparameters: an Optuna study that a killed run resumes.

The hand-set settings are the first trial. Each further trial is drawn from a generator seeded by its place
among the finished ones, and its folds are reported in their order however many run at once. So a study that
was killed and resumed, on any number of processors, makes the trials that it would have made in one go.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from filelock import FileLock
from pydantic import Field, ValidationError, model_validator

from millrace.errors import UserError, unknown
from millrace.metrics import LOWER_IS_BETTER, PRIMARY, Outcome, compute_metrics
from millrace.models import CandidateSettings, TrainingRows
from millrace.selection import Fold, FoldRows
from millrace.strict import Strict

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial
    from optuna.trial import Trial as RunningTrial

# Up to here every integer is a float64, which is what Optuna computes with.
LARGEST = 2**53
SCORES, SECONDS = "scores", "seconds"
# Fewer finished trials show nothing of what matters.
TELLING_TRIALS = 10
Report = Callable[[int, float], None]
"""Called after each trial with the number of finished ones and the best score."""


class Space(Strict):
    """Where a hyperparameter is searched: from `low` to `high`, both included, or among `choices`.

    With `log`, as many trials between 1 and 10 as between 10 and 100.
    """

    low: float | None = Field(None, ge=-LARGEST, le=LARGEST, allow_inf_nan=False)
    high: float | None = Field(None, ge=-LARGEST, le=LARGEST, allow_inf_nan=False)
    log: bool = False
    choices: tuple[Any, ...] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "Space":
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("give 'low' and 'high', or 'choices', not both")
            if not all(isinstance(choice, str | int | float | None) for choice in self.choices):
                raise ValueError("'choices' are numbers, texts, true, false or null")
            # By their texts: 1 and true are equal in Python.
            if len({repr(choice) for choice in self.choices}) < max(2, len(self.choices)):
                raise ValueError("'choices' are at least two different values")
            return self
        if self.low is None or self.high is None:
            raise ValueError("needs 'low' and 'high', or 'choices'")
        if self.low >= self.high:
            raise ValueError(f"'low' must be below 'high': {self.low:g} is not below {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"'log' needs a 'low' above 0, which {self.low:g} is not")
        return self

    @property
    def text(self) -> str:
        """The space in words."""
        if self.choices is not None:
            return " or ".join(str(choice) for choice in self.choices)
        return f"{self.low:g} to {self.high:g}{', logarithmic' if self.log else ''}"

    def check(self, parameter: str, settings: CandidateSettings) -> None:
        """See that every value of the space is one that the parameter may have, the hand-set one among them.

        Raises:
            ValueError: it is not.
        """
        known = sorted(set(type(settings).model_fields) - {"kind"})
        if parameter not in known:
            raise ValueError(str(unknown(f"hyperparameter of {settings.kind}", parameter, known)))
        ends = (self.low, self.high) if self.choices is None else self.choices
        for value in ends:
            try:
                taken = getattr(changed(settings, {parameter: value}), parameter)
            except ValidationError as error:
                shown = f"{value:g}" if isinstance(value, float) else value
                reason = error.errors()[0]["msg"]
                raise ValueError(f"{settings.kind} does not take {shown}: {_lower(reason)}") from None
            if self.choices is None and (isinstance(taken, bool) or not isinstance(taken, int | float)):
                raise ValueError("is no number, so give 'choices'")
        given = getattr(settings, parameter)
        if not self._holds(given):
            raise ValueError(
                f"the hand-set value {given!r} is not in its space, {self.text}; tuning starts from it, so "
                "widen the space or change the value"
            )

    def _holds(self, value: Any) -> bool:
        if self.choices is not None:
            return value in self.choices
        assert self.low is not None
        assert self.high is not None
        return isinstance(value, int | float) and self.low <= value <= self.high


class Tuning(Strict):
    """How long to search, for each candidate with a space; no trials, no search."""

    trials: int = Field(0, ge=0, le=10_000)
    seconds: float | None = Field(None, gt=0, allow_inf_nan=False, description="no trial begins later")
    folds: int = Field(2, ge=1, le=20, description="of the run's folds, how many a trial is scored on")
    spaces: dict[str, dict[str, Space]] = Field(default_factory=dict)


class Trial(Strict):
    """One try: its values of the searched hyperparameters and its scores, a fold each, as far as it came.

    A trial is `pruned` when its first folds are worse than those of half the trials before, `killed` when
    its process died, and `failed` when its scores are no finite numbers.
    """

    number: int
    state: Literal["complete", "pruned", "failed", "killed"]
    parameters: dict[str, Any]
    scores: tuple[float, ...]
    started: float
    """Seconds since 1970."""
    seconds: float | None

    @property
    def metric(self) -> float:
        """The mean over the folds that it has been scored on."""
        return float(np.mean(self.scores))


class TuningResult(Strict):
    """A finished search: the best settings, and all trials in the order in which they began."""

    candidate: str
    study: str
    metric_name: str
    space: dict[str, Space]
    settings: CandidateSettings
    best: Trial
    trials: tuple[Trial, ...]
    importance: dict[str, float]
    """How much each hyperparameter decided about reaching the best trials; shares of 1, largest first."""

    def of(self, state: str) -> tuple[Trial, ...]:
        """The trials that ended in a state."""
        return tuple(trial for trial in self.trials if trial.state == state)

    @property
    def hand_set(self) -> Trial:
        """The trial of the hand-set settings."""
        return next(trial for trial in self.trials if trial.state == "complete")


class Tried(Protocol):
    """A fold that is ready to be fitted on."""

    def outcome(self, settings: CandidateSettings, *, seed: int) -> Outcome:
        """Fit a candidate, and predict the validation rows."""


@dataclass(frozen=True)
class Search:
    """What a search depends on, and so what the name of its study covers; not its budget."""

    candidate: str
    settings: CandidateSettings
    space: dict[str, Space]
    rows: TrainingRows
    folds: list[Fold]
    seed: int
    code: str
    """A digest of the code that fits and scores."""

    @cached_property
    def name(self) -> str:
        """The candidate's name, and a digest of all that a trial's score depends on."""
        about = [
            self.settings.model_dump(mode="json"),
            {name: space.model_dump(mode="json") for name, space in self.space.items()},
            self.rows.problem.model_dump(mode="json"),
            self.seed,
            self.code,
        ]
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
        rows = (self.rows.inputs, self.rows.target, self.rows.parts)
        for array in (*rows, *(side for fold in self.folds for side in fold)):
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return f"{self.candidate}-{digest.hexdigest()[:16]}"

    def ready(self, pool: Executor) -> Sequence[Tried]:
        """The folds, each with what all trials have in common.

        That is learnt once: features of neighbouring rows take as long as a small model.
        """
        return list(pool.map(lambda fold: FoldRows.of(self.rows, fold), self.folds))


def tune(search: Search, budget: Tuning, *, storage: Path, threads: int, report: Report) -> TuningResult:
    """Bring the study of `search` in the folder `storage` up to its budget, and return it.

    Trials of earlier runs count, and so do the seconds that they took. A process that searches the same at
    the same time is waited for: after that there is nothing left to do.

    Raises:
        UserError: the hand-set settings have no finite score.
    """
    with _opened(search, storage) as study, ThreadPoolExecutor(threads) as pool:
        folds = search.ready(pool)
        while True:
            finished = _finished(study)
            spent = sum(trial.user_attrs[SECONDS] for trial in finished)
            if len(finished) >= budget.trials or (finished and spent >= (budget.seconds or np.inf)):
                return _result(search, study)
            _run_trial(search, study, finished, folds, pool)
            report(len(finished) + 1, study.best_value)


def changed(settings: CandidateSettings, values: dict[str, Any]) -> CandidateSettings:
    """The settings with other values of some hyperparameters."""
    return type(settings).model_validate(settings.model_dump() | values)


@contextmanager
def _opened(search: Search, folder: Path) -> "Iterator[Study]":
    """The study, in a database of its own: SQLite keeps what was finished, whenever it is killed.

    Under a lock that ends with its process. So a trial that still runs when it is opened runs no more.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{search.name}.db"
    lower = PRIMARY[search.rows.task] in LOWER_IS_BETTER
    with FileLock(path.with_suffix(".lock")):
        storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
        try:
            study = optuna.create_study(
                study_name=search.name,
                storage=storage,
                direction="minimize" if lower else "maximize",
                pruner=optuna.pruners.MedianPruner(),
                load_if_exists=True,
            )
            for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
                study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
            yield study
        finally:
            storage.remove_session()
            storage.engine.dispose()


def _finished(study: "Study") -> "list[FrozenTrial]":
    """The trials that came to an end of their own, in order: a killed one has no scores."""
    return [trial for trial in study.trials if trial.state.is_finished() and SCORES in trial.user_attrs]


def _run_trial(
    search: Search, study: "Study", finished: "list[FrozenTrial]", folds: Sequence[Tried], pool: Executor
) -> None:
    import optuna
    from optuna.trial import TrialState

    seed = int(np.random.SeedSequence([search.seed, len(finished)]).generate_state(1)[0])
    study.sampler = optuna.samplers.TPESampler(seed=seed)
    if not finished and not study.get_trials(states=[TrialState.WAITING]):
        study.enqueue_trial({name: getattr(search.settings, name) for name in search.space})
    trial = study.ask(_distributions(search))
    started = perf_counter()
    hand_set = finished[0].user_attrs[SCORES] if finished else None
    scores, pruned = _score(search, trial, hand_set, folds, pool)
    if not finished and not np.isfinite(scores).all():
        raise UserError(
            f"The hand-set settings of candidate '{search.candidate}' give no finite "
            f"{PRIMARY[search.rows.task]}, so there is nothing to tune from; change them."
        )
    trial.set_user_attr(SECONDS, perf_counter() - started)
    trial.set_user_attr(SCORES, scores)
    if pruned:
        study.tell(trial, state=TrialState.PRUNED)
    elif np.isfinite(scores).all():
        study.tell(trial, float(np.mean(scores)))
    else:
        study.tell(trial, state=TrialState.FAIL)


def _score(
    search: Search,
    trial: "RunningTrial",
    hand_set: list[float] | None,
    folds: Sequence[Tried],
    pool: Executor,
) -> tuple[list[float], bool]:
    """The primary metric of fold after fold, until the trial is pruned: and whether it was.

    What is reported is the difference to the hand-set settings on the same folds: folds differ more in
    how hard they are than settings in how good they are.
    """
    settings = changed(search.settings, trial.params)

    def run(fold: Tried) -> float:
        return compute_metrics(fold.outcome(settings, seed=search.seed))[PRIMARY[search.rows.task]]

    scores: list[float] = []
    # Later folds run ahead; if the trial is pruned before them, they count for nothing.
    futures = [pool.submit(run, fold) for fold in folds]
    for step, future in enumerate(futures):
        scores.append(future.result())
        trial.report(float(np.mean(np.subtract(scores, (hand_set or scores)[: step + 1]))), step)
        if step + 1 < len(folds) and trial.should_prune():
            for later in futures[step + 1 :]:
                later.cancel()
            return scores, True
    return scores, False


def _distributions(search: Search) -> "dict[str, BaseDistribution]":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, BaseDistribution] = {}
    for name, space in search.space.items():
        if space.choices is not None:
            found[name] = CategoricalDistribution(space.choices)
        else:
            assert space.low is not None
            assert space.high is not None
            if isinstance(getattr(search.settings, name), int):
                found[name] = IntDistribution(int(space.low), int(space.high), log=space.log)
            else:
                found[name] = FloatDistribution(space.low, space.high, log=space.log)
    return found


def _result(search: Search, study: "Study") -> TuningResult:
    trials = tuple(_as_trial(trial) for trial in study.trials)
    metric = PRIMARY[search.rows.task]
    # Of equally good ones the first: the hand-set settings, if nothing is better.
    choose = min if metric in LOWER_IS_BETTER else max
    best = choose((trial for trial in trials if trial.state == "complete"), key=lambda trial: trial.metric)
    return TuningResult(
        candidate=search.candidate,
        study=search.name,
        metric_name=metric,
        space=search.space,
        settings=changed(search.settings, best.parameters),
        best=best,
        trials=trials,
        importance=_importance(study),
    )


def _as_trial(trial: "FrozenTrial") -> Trial:
    scores = trial.user_attrs.get(SCORES)
    state: Any = trial.state.name.lower() if scores else "killed"
    assert trial.datetime_start is not None
    return Trial(
        number=trial.number,
        state="failed" if state == "fail" else state,
        parameters=trial.params,
        scores=tuple(scores or ()),
        started=trial.datetime_start.timestamp(),
        seconds=trial.user_attrs.get(SECONDS) if scores else None,
    )


def _importance(study: "Study") -> dict[str, float]:
    """By PED-ANOVA (Watanabe, Bansal and Hutter, IJCAI 2023); empty after too few trials."""
    import optuna

    complete = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    if len(complete) < TELLING_TRIALS:
        return {}
    found = optuna.importance.get_param_importances(study)
    return {name: float(share) for name, share in found.items()}


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
