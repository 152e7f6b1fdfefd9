"""What an experiment's command says at the end, as a table and as JSON."""

from typing import Literal

from millrace.experiments import Plan, Verdict
from millrace.experiments.page import notes
from millrace.experiments.record import End
from millrace.strict import Strict
from pipelines.closing import make_facts, open_console


class ExperimentSummary(Strict):
    """The outcome; `run_id` and `run_name` are None where there was nothing left to do.

    `days` is how long it takes by the traffic of late, `verdict` that of this look, `record` the folder.
    """

    run_id: str | None
    run_name: str | None
    problem: str
    outcome: Literal["planned", "promote", "stop", "go on", "void"]
    plan: Plan
    days: float | None
    verdict: Verdict | None
    end: End | None
    record: str
    seconds: float


def print_summary(summary: ExperimentSummary) -> None:
    """Print the closing table."""
    from rich.text import Text

    console = open_console()
    plan = summary.plan
    facts = make_facts(
        f"{summary.problem}: version {plan.challenger.version} beside the champion, version "
        f"{plan.champion.version}"
    )
    for name, text in _facts(summary):
        facts.add_row(name, Text(text))
    console.print(facts)


def _facts(summary: ExperimentSummary) -> list[tuple[str, str]]:
    plan, verdict, end = summary.plan, summary.verdict, summary.end
    facts = [("outcome", summary.outcome)]
    if end is not None:
        facts += [("why", reason) for reason in end.reasons]
        facts.append(("champion", f"version {end.champion}, since {end.time:%Y-%m-%d %H:%M} UTC decided"))
    elif verdict is None:
        facts += _planned(plan)
    if verdict is not None:
        facts += _found(verdict, plan, told=end is not None)
    facts += _serve(summary)
    facts.append(("record", summary.record))
    run = summary.run_name or "none: there was nothing left to do"
    facts.append(("run", f"{run}, {summary.seconds:.1f} s"))
    return facts


def _planned(plan: Plan) -> list[tuple[str, str]]:
    settings = plan.settings
    days = "no outcomes have come of late: how many days cannot be told"
    if plan.days is not None and plan.traffic is not None:
        days = (
            f"about {plan.days:,.1f} days at most, by the traffic of the last {plan.traffic.days:.1f}: "
            f"{plan.traffic.units:,} keys, {plan.traffic.labelled:,} of them with outcomes"
        )
    return [
        (
            "worth finding",
            f"{plan.metric_name} lower by {settings.effect:.3g} of it: a mean loss of "
            f"{plan.loss - plan.effect:.4g} and not {plan.loss:.4g}",
        ),
        ("size", f"{plan.units:,} keys with outcomes, {settings.share:.3g} of them the challenger's"),
        ("time", days),
        (
            "rates",
            f"found in {settings.power:.3g} of cases at least; promoted for nothing in "
            f"{settings.alpha:.3g} at most, however often one looks",
        ),
    ]


def _found(verdict: Verdict, plan: Plan, told: bool) -> list[tuple[str, str]]:
    facts = [] if told else [("why", reason) for reason in verdict.reasons]
    for name, side in (("champion", verdict.champion), ("challenger", verdict.challenger)):
        metric = "no outcomes" if side.metric is None else f"{plan.metric_name} {side.metric:.4g}"
        facts.append((f"{name} {side.version}", f"{metric}; {side.labelled_units:,} of {side.units:,} keys"))
    if verdict.difference is not None:
        found = verdict.difference
        facts.append(
            (
                "difference",
                f"{found.value:.4g} ({found.low:.4g} to {found.high:.4g}) of the mean loss; worth finding "
                f"{-plan.effect:.4g}",
            )
        )
    facts.append(("size", f"{verdict.progress:.0%} of {plan.units:,} keys with outcomes"))
    if verdict.status == "go on":
        facts.append(("still", f"{verdict.remaining:,} keys with outcomes at most"))
    facts += [(f"guardrail: {each.name}", f"{each.state}. {each.why}") for each in verdict.guardrails]
    facts += [("note", note) for note in notes(verdict.counted)]
    return facts


def _serve(summary: ExperimentSummary) -> list[tuple[str, str]]:
    plan = summary.plan
    plain = f"make serve PROBLEM={summary.problem}"
    if summary.end is not None:
        return [("serve", f"{plain}  (without the challenger: restart the service)")]
    if summary.outcome == "planned":
        return [
            (
                "serve",
                f"MILLRACE_SERVE_CHALLENGER={plan.challenger.tag} "
                f"MILLRACE_SERVE_CHALLENGER_SHARE={plan.settings.share:g} {plain}",
            )
        ]
    command = f"python run.py --pipeline experiment --problem {summary.problem} --decide"
    return [("end it", command)] if summary.outcome != "go on" else []
