"""What the forgetting command says at the end, as a table and as JSON."""

from millrace.strict import Strict
from pipelines.closing import make_facts, open_console
from steps.successors import Successor

REMAINS = (
    "what the model learnt from the rows: trees, and of neighbours and their networks the rows themselves, "
    "without the key; train again without them to be rid of that",
    "the source of the table, outputs of batch jobs, and rows kept encoded of tables beyond memory",
    "plots and reports of training runs, which count rows and may draw them as dots",
    "rows that wait in a service or its spool; forget once more when they are written",
)


class ForgettingSummary(Strict):
    """What was, or with `dry_run` would be, forgotten.

    `log_rows` are the prediction log's. `unknown` versions do not say whose their rows are. `runs` had the
    key in a table; `tables` of theirs went.
    """

    problem: str
    key_digest: str
    dry_run: bool
    log: str | None
    log_rows: int
    successors: tuple[Successor, ...]
    unknown: tuple[str, ...]
    runs: tuple[str, ...]
    tables: int
    bento: str
    remains: tuple[str, ...]
    seconds: float


def print_summary(summary: ForgettingSummary) -> None:
    """Print what was forgotten, and what remains."""
    from rich.text import Text

    facts = make_facts(f"{summary.problem}: a key's rows" + (", nothing done" if summary.dry_run else ""))
    facts.add_row("prediction log", Text(f"{summary.log_rows:,} rows" if summary.log else "none"))
    for each in summary.successors:
        after = (
            f"succeeded by version {each.successor}, and deleted" if each.successor else "would be succeeded"
        )
        champion = ", the champion" if each.champion else ""
        facts.add_row(f"version {each.version}", f"{each.rows:,} rows{champion}: {after}")
    if summary.unknown:
        listed = ", ".join(summary.unknown)
        facts.add_row("cannot say", f"versions {listed}: made before bundles knew whose their rows are")
    for name in summary.runs:
        facts.add_row("run", Text(name))
    facts.add_row("tables of runs", f"{summary.tables:,}")
    if summary.bento:
        facts.add_row("service", f"{summary.bento}; restart a service that does not watch for it")
    for told in summary.remains:
        facts.add_row("remains", told)
    open_console().print(facts)
