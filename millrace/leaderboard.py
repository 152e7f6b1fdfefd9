"""The candidates side by side, and beside them what knows only the target."""

from collections.abc import Sequence

import numpy as np

from millrace.comparison import corrected_error, corrected_t_test
from millrace.contract import Problem
from millrace.metrics import LOWER_IS_BETTER, PRIMARY, Floats, Outcome, compute_metrics
from millrace.promotion import baseline_predictions
from millrace.selection import CandidateResult, Fold
from millrace.strict import Strict

BASELINE = "baseline"


class Leaderboard(Strict):
    """The candidates, the chosen one first and the others from best to worst, and why it was chosen.

    Beside them the baseline on the same folds. `left_out` names candidates that were not compared, and
    `why_left_out` says why.
    """

    metric_name: str
    results: tuple[CandidateResult, ...]
    baseline: CandidateResult
    reason: str
    left_out: tuple[str, ...] = ()
    why_left_out: str = ""

    @property
    def rows(self) -> tuple[CandidateResult, ...]:
        """All lines of the table, the baseline's last."""
        return (*self.results, self.baseline)


def compare(
    results: Sequence[CandidateResult],
    problem: Problem,
    target: Floats,
    folds: Sequence[Fold],
    left_out: Sequence[str] = (),
    why_left_out: str = "",
) -> Leaderboard:
    """Choose among candidates that were cross-validated on `folds`, and test each against the chosen one.

    `target` is the encoded target of all training rows. The best mean wins; but a blend asks every member
    for each prediction, so it must be better than the best of the others by more than the standard error
    of their difference (the one-standard-error rule of Breiman et al., 1984, on paired folds). The p-values
    are one-sided and not corrected for the best's being chosen on the same folds.
    """
    metric = PRIMARY[problem.task]
    sign = 1 if metric in LOWER_IS_BETTER else -1
    share = float(np.mean([len(scored) / (len(fitted) + len(scored)) for fitted, scored in folds]))
    ranked = sorted(results, key=lambda result: sign * result.metric)

    def gains(better: CandidateResult, worse: CandidateResult) -> Floats:
        return np.asarray(sign * (np.array(worse.scores) - np.array(better.scores)))

    first, single = ranked[0], next(result for result in ranked if not result.weights)
    reason = f"{first.candidate} has the best mean {metric}"
    if first is not single:
        gained = gains(first, single)
        gain, error = float(gained.mean()), corrected_error(gained, share)
        worth = gain > error
        reason = (
            f"the blend's mean {metric} is better than that of {single.candidate} by {gain:.4f}, "
            f"{'more' if worth else 'no more'} than the standard error of this difference, {error:.4f}"
        )
        first = first if worth else single
    baseline = _baseline(problem, target, folds)
    others = [result for result in (*ranked, baseline) if result is not first]
    tested = [
        result.model_copy(update={"p_value": corrected_t_test(gains(first, result), share)})
        for result in others
    ]
    return Leaderboard(
        metric_name=metric,
        results=(first, *tested[:-1]),
        baseline=tested[-1],
        reason=reason,
        left_out=tuple(left_out),
        why_left_out=why_left_out,
    )


def _baseline(problem: Problem, target: Floats, folds: Sequence[Fold]) -> CandidateResult:
    """The mean, or the class shares, of each fold's fitted rows."""
    outcomes = [
        Outcome(
            problem,
            target[scored],
            baseline_predictions(problem.task, target[fitted], len(scored), len(problem.classes)),
        )
        for fitted, scored in folds
    ]
    return CandidateResult(
        candidate=BASELINE,
        metric_name=PRIMARY[problem.task],
        folds=tuple(compute_metrics(outcome) for outcome in outcomes),
        seconds=0,
    )
