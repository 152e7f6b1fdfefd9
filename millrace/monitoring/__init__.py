"""Watching a model in use: have its inputs or predictions drifted, and does it still predict well?

`Baseline` is what a bundle says of how things were, `read_window` reads from the prediction log how they are,
and `judge` and `perform` compare the two. A column has drifted if its window differs from the reference by
more than windows of that size differ that are drawn from the reference itself, but for the share of false
alarms that is allowed.
"""

from datetime import datetime

from millrace.bundle import Bundle
from millrace.monitoring.baseline import Baseline
from millrace.monitoring.judging import judge
from millrace.monitoring.performance import holdout_metrics, perform
from millrace.monitoring.settings import MonitoringSettings
from millrace.monitoring.verdict import Verdict
from millrace.monitoring.window import Window, read_window

__all__ = ["Baseline", "MonitoringSettings", "Verdict", "Window", "monitor"]


def monitor(
    uri: str, bundle: Bundle, version: str, since: datetime, until: datetime, settings: MonitoringSettings
) -> tuple[Verdict, Window]:
    """The verdict on the rows of a log that a bundle answered in `since` <= time < `until`.

    Raises:
        UserError: there is no log, or it cannot be read.
    """
    baseline = Baseline.of(bundle)
    window = read_window(uri, baseline, bundle.digest, since, until, settings)
    verdict = Verdict(
        problem=bundle.problem.name,
        version=version,
        bundle_digest=bundle.digest,
        since=since,
        until=until,
        false_alarms=settings.false_alarms,
        drift=judge(baseline, window.tally, settings),
        performance=perform(baseline, holdout_metrics(bundle), window.labelled, window.predicted, settings),
        counted=window.counted,
    )
    return verdict, window
