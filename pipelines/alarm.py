"""What monitoring has found, as Markdown for an issue, if somebody should look.

    python -m pipelines.alarm SUMMARY.json

prints it from the summary of a monitoring run, or nothing: then there is neither drift nor decay. The first
line tells the issue from others, so that the next run does not open another.
"""

import sys
from pathlib import Path

from pydantic import ValidationError

from pipelines.comment import plain, table
from pipelines.monitoring_summary import MonitoringSummary


def alarm(summary: MonitoringSummary) -> str:
    """The text of the issue; empty if nothing has drifted and predictions are as good as they were."""
    drift, performance = summary.verdict.drift, summary.verdict.performance
    found = [status for status in (drift.status, performance.status) if status in ("drift", "decay")]
    if not found:
        return ""
    verdict = summary.verdict
    drifted = [column for column in drift.columns if column.reasons]
    lines = [
        f"<!-- millrace: monitoring of {summary.problem} -->",
        f"### {summary.problem}: {' and '.join(found)}",
        "",
        f"Version {plain(verdict.version)}, {verdict.since:%Y-%m-%d %H:%M} to "
        f"{verdict.until:%Y-%m-%d %H:%M} UTC: {drift.rows:,} rows.",
        "",
        f"- Drift: {plain(drift.status)}. {plain(drift.why)}",
        f"- Performance: {plain(performance.status)}. {plain(performance.why)}",
        *(f"- {plain(note)}" for note in summary.notes),
        "",
        *table(
            ("column", "distance", "missing", "score", "why"),
            (
                (
                    column.name,
                    f"{column.distance:.3f}",
                    f"{column.missing:.2%}",
                    "" if column.score is None else f"{column.score:.2f}",
                    "; ".join(column.reasons),
                )
                for column in drifted
            ),
        ),
        f"Run {plain(summary.run_name)}. What to do: docs/alerts.md. Close this once it is dealt with; "
        "the next alarm opens another.",
    ]
    return "\n".join(lines) + "\n"


def main(path: str) -> int:
    """Print the alarm of the run whose summary is in `path`, if there is one; returns the exit code."""
    try:
        summary = MonitoringSummary.model_validate_json(Path(path).read_bytes())
    except (OSError, ValidationError) as error:
        print(f"error: {path}: is no summary of a monitoring: {error}", file=sys.stderr)
        return 2
    print(alarm(summary), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
