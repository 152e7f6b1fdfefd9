"""Retraining: when a new model is to be made, of which rows, and what it is judged on.

`admit` says whether a trigger makes a run at all, `labelled_rows` reads from the prediction log what has
turned out to be true, and `fresh_rows` puts them together with those of the source.
"""

from millrace.retraining.admission import Attempt, Kind, Trigger, admit, resumed
from millrace.retraining.rows import (
    Fresh,
    Labelled,
    enough_of_the_source,
    fresh_rows,
    labelled_rows,
)
from millrace.retraining.settings import RetrainingSettings

__all__ = [
    "Attempt",
    "Fresh",
    "Kind",
    "Labelled",
    "RetrainingSettings",
    "Trigger",
    "admit",
    "enough_of_the_source",
    "fresh_rows",
    "labelled_rows",
    "resumed",
]
