"""The verdict as a page, and what has to be said of the log."""

from millrace.contract import Problem
from millrace.monitoring.plots import columns_plot
from millrace.monitoring.verdict import Counted, Verdict
from millrace.pages import render


def verdict_page(verdict: Verdict, problem: Problem, history_plot: bytes, confidence: float) -> str:
    """A self-contained page."""
    return render(
        "monitoring",
        title="Monitoring",
        problem=problem,
        verdict=verdict,
        drift=verdict.drift,
        performance=verdict.performance,
        notes=notes(verdict.counted),
        counted=list(_facts(verdict.counted)),
        columns_plot=columns_plot(verdict.drift) if verdict.drift.score is not None else b"",
        history_plot=history_plot,
        confidence=confidence,
    )


def notes(counted: Counted) -> list[str]:
    """What is odd about the log, a sentence each."""
    said = {
        "Requests that are not whole, left out": counted.damaged,
        "Rows dated in the future, left out; a machine's clock is wrong": counted.future,
        "Outcomes dated in the future; a machine's clock is wrong": counted.future_outcomes,
        "Outcomes dated before the answers that they are of; check the clocks": counted.early,
        "Rows without a whole answer, left out": counted.unanswered,
        "Outcomes of requests or keys that the log does not have": counted.unknown,
        "Outcomes replaced by later ones of the same rows or keys": counted.replaced,
    } | {
        f"Rows answered by version {version}, not judged, as its reference is another": rows
        for version, rows in counted.others.items()
    }
    return [f"{text}: {count:,}." for text, count in said.items() if count]


def _facts(counted: Counted) -> list[tuple[str, int]]:
    return [
        *((f"rows judged, {variant}", rows) for variant, rows in sorted(counted.judged.items())),
        *((f"rows of version {version}, not judged", rows) for version, rows in counted.others.items()),
        ("rows in the shadow, not judged", counted.shadow),
        ("rows dated in the future", counted.future),
        ("rows without a whole answer", counted.unanswered),
        ("requests that are not whole", counted.damaged),
        ("outcomes in the log", counted.outcomes),
        ("outcomes replaced by later ones", counted.replaced),
        ("outcomes of unknown requests or keys", counted.unknown),
        ("outcomes dated in the future", counted.future_outcomes),
        ("outcomes dated before their answers", counted.early),
    ]
