"""A look as a page, and what has to be said of the log."""

from collections.abc import Sequence

from millrace.contract import Problem
from millrace.experiments.arms import Counted
from millrace.experiments.planning import Plan
from millrace.experiments.plots import looks_plot
from millrace.experiments.record import Look
from millrace.experiments.verdict import Verdict
from millrace.pages import render


def verdict_page(verdict: Verdict, plan: Plan, looks: Sequence[Look], problem: Problem) -> str:
    """A self-contained page; `looks` has all so far."""
    return render(
        "experiment",
        title="Experiment",
        problem=problem,
        plan=plan,
        verdict=verdict,
        notes=notes(verdict.counted),
        looks_plot=looks_plot(looks, plan),
    )


def notes(counted: Counted) -> list[str]:
    """What is odd about the log, a sentence each."""
    said = {
        "Requests that are not whole, left out": counted.damaged,
        "Outcomes of requests or keys that the log does not have": counted.unknown,
        "Outcomes replaced by later ones of the same rows or keys": counted.replaced,
        "Keys that both have answered, as callers named the variant or another key": counted.crossed,
    } | {
        f"Rows that version {version} has answered in neither role, left out": rows
        for version, rows in counted.others.items()
    }
    return [f"{text}: {count:,}." for text, count in said.items() if count]
