"""Verdicts on made-up windows."""

from datetime import UTC, datetime, timedelta

from millrace.contract import Task
from millrace.metrics import Interval
from millrace.monitoring import Verdict
from millrace.monitoring.judging import judge
from millrace.monitoring.performance import perform
from millrace.monitoring.verdict import Counted
from tests.millrace.cases import make_fitted
from tests.millrace.watched import QUICK, answered, make_baseline, tallied

NOW = datetime(2026, 3, 2, tzinfo=UTC)
COUNTED = Counted(
    judged={"champion": 200}, others={"7": 30}, shadow=0, future=2, unanswered=3, damaged=1, outcomes=150,
    replaced=4, unknown=5, future_outcomes=6, early=7,
)  # fmt: skip


def make_verdict(
    task: Task = "regression", rows: int = 200, until: datetime = NOW, shift: float = 0
) -> Verdict:
    """On `rows` rows, whose sizes are all larger by `shift`."""
    baseline = make_baseline(task)
    window = answered(make_fitted(task, "lightgbm"), max(rows, 1), seed=7)[:rows]
    window["size"] += shift
    labelled = type(baseline).from_sample(baseline.problem, window, dict.fromkeys(window, 0.2)).outcome
    holdout = {name: Interval(value=0.5, low=0.4, high=0.6) for name in ("rmse", "log_loss")}
    return Verdict(
        problem="homes",
        version="3",
        bundle_digest="a" * 64,
        since=until - timedelta(days=1),
        until=until,
        false_alarms=0.01,
        drift=judge(baseline, tallied(baseline, window), QUICK),
        performance=perform(baseline, holdout, labelled, labelled.predicted, QUICK),
        counted=COUNTED,
    )
