"""Experiments: does a challenger that answers for a share of the keys predict better than the champion?

`make_plan` says how many keys it takes to find the smallest effect that is worth finding; `read_arms` reads
from the prediction log what either has answered since, and what became of it; `judge` compares them by
intervals that hold however often one looks, and says promote, stop or go on. `Record` keeps all of it.
"""

from millrace.experiments.arms import Arms, read_arms
from millrace.experiments.planning import Contender, Plan, make_plan, read_traffic
from millrace.experiments.record import Decision, Record
from millrace.experiments.settings import ExperimentSettings
from millrace.experiments.verdict import Verdict, judge, void

__all__ = [
    "Arms",
    "Contender",
    "Decision",
    "ExperimentSettings",
    "Plan",
    "Record",
    "Verdict",
    "judge",
    "make_plan",
    "read_arms",
    "read_traffic",
    "void",
]
