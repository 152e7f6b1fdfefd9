"""The prediction log: every answered row and, later, what turned out to be true of it.

A service `offer`s entries to a `PredictionLog`; `read_log` and `read_labelled` give them to whoever watches
the model.
"""

from millrace.prediction_log.entries import Entry, ModelName, Outcome, Outcomes
from millrace.prediction_log.feedback import FeedbackReader
from millrace.prediction_log.log import LogStatus, PredictionLog, Watcher
from millrace.prediction_log.reading import OutcomeCounts, count_outcomes, forget, read_labelled, read_log
from millrace.prediction_log.settings import LogSettings

__all__ = [
    "Entry",
    "FeedbackReader",
    "LogSettings",
    "LogStatus",
    "ModelName",
    "Outcome",
    "OutcomeCounts",
    "Outcomes",
    "PredictionLog",
    "Watcher",
    "count_outcomes",
    "forget",
    "read_labelled",
    "read_log",
]
