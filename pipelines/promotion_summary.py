"""What a promotion says at the end, or before it begins, as a table and as JSON."""

from millrace.strict import Strict
from millrace.succession import Contract
from pipelines.closing import make_facts, open_console
from stacks.stack_files import Stack


class PromotionSummary(Strict):
    """The outcome of a promotion or, without a `source`, of a roll-back.

    Of a dry run, what it would be: it has no run, and a version that would be added no number.
    """

    run_id: str | None = None
    run_name: str | None = None
    problem: str
    source: str | None
    source_version: str | None
    target: str
    version: str | None
    digest: str
    added: bool
    champion_before: str | None
    contract: Contract
    bento: str = ""
    seconds: float

    @property
    def is_dry(self) -> bool:
        """Whether nothing was done."""
        return self.run_id is None


def print_summary(summary: PromotionSummary, stack: Stack) -> None:
    """Print the closing table."""

    console = open_console()
    way = f"{summary.source} -> {summary.target}" if summary.source else f"{summary.target}, rolled back"
    title = f"{summary.problem}: {way}{', a dry run' if summary.is_dry else ''}"
    facts = make_facts(title)
    if summary.source:
        facts.add_row("from", f"version {summary.source_version} of stack {summary.source}")
        facts.add_row("bundle", _bundle(summary))
    facts.add_row("digest", f"{summary.digest}, verified" + (" on both sides" if _copied(summary) else ""))
    facts.add_row("champion", _champion(summary))
    if note := CONTRACTS.get(summary.contract):
        facts.add_row("note", note)
    if summary.is_dry:
        facts.add_row("run", "none: nothing was written")
    else:
        facts.add_row("run", f"{summary.run_name}, {summary.seconds:.1f} s")
    if not summary.is_dry:
        command = "make serve" if summary.bento else f"make serve STACK={summary.target}"
        facts.add_row("to serve it", f"{command} PROBLEM={summary.problem}")
        dashboard = stack.server.url if stack.server else "make dashboard"
        facts.add_row("lineage", dashboard)
    console.print(facts)


CONTRACTS = {
    "other": "its contract differs from that of the champion before: running services do not take it over, "
    "restart them; callers may have to change what they send",
    "unknown": "the bundle of the champion before is damaged or gone, so the contracts could not be compared",
}


def _copied(summary: PromotionSummary) -> bool:
    return bool(summary.source) and not (summary.is_dry and summary.added)


def _bundle(summary: PromotionSummary) -> str:
    if not summary.added:
        return f"{summary.target} has it already, as version {summary.version}: no second version"
    return f"{'would be ' if summary.is_dry else ''}added as {_version(summary)}"


def _champion(summary: PromotionSummary) -> str:
    if summary.version is not None and summary.champion_before == summary.version:
        return f"version {summary.version}, unchanged"
    before = f"version {summary.champion_before}" if summary.champion_before else "none"
    return f"{before} -> {_version(summary)}"


def _version(summary: PromotionSummary) -> str:
    return f"version {summary.version}" if summary.version else "a new version"
