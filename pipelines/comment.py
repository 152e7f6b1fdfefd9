"""What a training found, as Markdown for those who read a pull request.

    python -m pipelines.comment SUMMARY.json STACK

prints it, from the summary of a training on that stack and the model card that is in the stack's registry.
The first line tells the comment from others, so that the next training of the problem can take its place.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from millrace.bundle import CARD_MARKDOWN
from millrace.card import shown
from millrace.comparison import standing
from millrace.errors import UserError
from millrace.metrics import Interval
from millrace.pages import markdown
from pipelines.summary import Summary
from stacks import environment
from stacks.source import fetch

# GitHub takes 65,536 characters, and the same page may be asked for other comments.
LONGEST_CARD = 50_000


def comment(summary: Summary, card: str) -> str:
    """The comment on a training; `card` is the model card in Markdown."""
    verdict = "promoted" if summary.promoted else "not promoted"
    synthetic = " The data are synthetic." if summary.synthetic else ""
    lines = [
        f"<!-- millrace: training of {summary.problem} -->",
        f"### {summary.problem}: version {plain(summary.model_version)}, {verdict}",
        "",
        f"{plain(summary.reason)}.{synthetic}",
        "",
        f"Champion: {_champion(summary)}. {plain(summary.worst_slice)}",
        "",
        *table(
            ("candidate", f"mean {summary.metric} of folds", "deviation", "seconds", "beside the chosen"),
            (
                (
                    entry.candidate,
                    f"{entry.metric:.4f}",
                    f"{entry.std:.4f}",
                    f"{entry.seconds:.1f}",
                    standing(entry.p_value),
                )
                for entry in summary.leaderboard
            ),
        ),
        *table(
            ("on the holdout", "value", "from", "to", "baseline"),
            (
                (name, *(f"{number:.4f}" for number in (found.value, found.low, found.high)), baseline)
                for name, found, baseline in _holdout(summary)
            ),
        ),
    ]
    if failed := [criterion for criterion in summary.criteria if not criterion.held]:
        lines += [*(f"- {plain(criterion.name)}: {plain(criterion.reason)}" for criterion in failed), ""]
    if summary.left_out:
        lines += [f"Left out: {plain(', '.join(summary.left_out))}: {plain(summary.why_left_out)}.", ""]
    rows = summary.rows
    lines += [
        f"{rows.read:,} rows read: {rows.used:,} used, {rows.quarantined:,} quarantined, "
        f"{rows.duplicates:,} duplicates. Run {plain(summary.run_name)}, {summary.seconds:.0f} s; "
        f"bundle `{summary.bundle_digest[:12]}`.",
        "",
        "<details><summary>Model card</summary>",
        "",
        silent(_cut(card)).strip(),
        "",
        "</details>",
    ]
    return "\n".join(lines) + "\n"


def plain(text: str) -> str:
    """Text that shows as it is and calls nobody, on one line."""
    return silent(markdown(text))


def silent(text: str) -> str:
    """The same Markdown, without the power to notify anybody: GitHub reads @name wherever it stands."""
    return text.replace("@", "@<!-- -->")


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """The lines of a table and an empty one; all but the first column are aligned to the right."""
    rule = ("---", *("---:" for _ in header[1:]))
    filled = [tuple(plain(cell) for cell in row) for row in (header, *rows)]
    return [f"| {' | '.join(row)} |" for row in (filled[0], rule, *filled[1:])] + [""]


def _holdout(summary: Summary) -> list[tuple[str, Interval, str]]:
    return [(name, found, f"{summary.baseline[name]:.4f}") for name, found in summary.holdout.items()]


def _champion(summary: Summary) -> str:
    before, after = (
        f"version {plain(version)}" if version else "none"
        for version in (summary.champion_before, summary.champion_version)
    )
    return f"{before}, unchanged" if before == after else f"{before} → {after}"


def _cut(card: str) -> str:
    """A card's first lines, as many as a comment takes: no table is cut within a row."""
    if len(card) <= LONGEST_CARD:
        return card
    return card[: card.rindex("\n", 0, LONGEST_CARD)] + "\n\nThe rest is in the model's registry."


def main(path: str, stack: str) -> int:
    """Print the comment on the training whose summary is in `path`; returns the exit code."""
    environment.prepare()
    try:
        summary = Summary.model_validate_json(Path(path).read_bytes())
        fetched = fetch(stack, summary.problem, summary.model_version)
    except (OSError, ValidationError) as error:
        print(f"error: {path}: is no summary of a training: {error}", file=sys.stderr)
        return 2
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(comment(summary, shown(fetched.folder, CARD_MARKDOWN)), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
