"""What a training run says at the end, as a table and as JSON."""

from typing import Any

from zenml.models import PipelineRunResponse, StepRunResponse

from millrace.cleaning import RowCounts
from millrace.comparison import standing
from millrace.contract import Problem
from millrace.evaluation import Evaluation
from millrace.large import Account
from millrace.leaderboard import Leaderboard
from millrace.metrics import Interval
from millrace.promotion import Criterion
from millrace.registry import Registration
from millrace.strict import Strict
from pipelines.closing import make_facts, open_console
from stacks.stack_files import Stack
from steps.materializers import TABLE
from steps.promote import Promotion


class Entry(Strict):
    """One candidate on the leaderboard, or the baseline, which is the last.

    `p_value` is that of the best one's being better (None for the best), `seconds` the time of its folds.
    """

    candidate: str
    metric: float
    std: float
    p_value: float | None
    seconds: float


class Summary(Strict):
    """The outcome of a training run; `quarantine` is the Parquet file of rows that broke the contract."""

    run_id: str
    run_name: str
    problem: str
    task: str
    synthetic: bool
    metric: str
    holdout: dict[str, Interval]
    baseline: dict[str, float]
    leaderboard: tuple[Entry, ...]
    left_out: tuple[str, ...]
    why_left_out: str
    worst_slice: str
    model_version: str
    promoted: bool
    reason: str
    criteria: tuple[Criterion, ...]
    champion_before: str | None
    champion_version: str | None
    bundle_digest: str
    bento: str
    rows: RowCounts
    quarantine: str | None
    on_disk: Account | None
    seconds: float


def summarise(run: PipelineRunResponse, problem: Problem, seconds: float) -> Summary:
    """Collect the summary from a finished run's artifacts."""
    steps = run.steps  # Each access asks the store anew.
    leaderboard: Leaderboard = _output(steps, "fit_best", "leaderboard")
    evaluation: Evaluation = _output(steps, "evaluate", "evaluation")
    registration: Registration = _output(steps, "register", "registration")
    promotion: Promotion = _output(steps, "promote", "promotion")
    champion = promotion.champion
    account: Account | None = _output(steps, "store", "account") if "store" in steps else None
    rows: RowCounts = account.rows if account else _output(steps, "clean", "row_counts")
    quarantine = f"{steps['store' if account else 'clean'].outputs['quarantine'][0].uri}/{TABLE}"
    return Summary(
        run_id=str(run.id),
        run_name=run.name,
        problem=problem.name,
        task=problem.task,
        synthetic=problem.synthetic,
        metric=evaluation.metric_name,
        holdout=evaluation.metrics,
        baseline=evaluation.baseline,
        leaderboard=tuple(
            Entry(candidate=r.candidate, metric=r.metric, std=r.std, p_value=r.p_value, seconds=r.seconds)
            for r in leaderboard.rows
        ),
        left_out=leaderboard.left_out,
        why_left_out=leaderboard.why_left_out,
        worst_slice=evaluation.worst,
        model_version=registration.version,
        promoted=promotion.verdict.promote,
        reason=promotion.verdict.reason,
        criteria=promotion.verdict.criteria,
        champion_before=promotion.champion_before,
        champion_version=champion.version if champion else None,
        bundle_digest=registration.digest,
        bento=_output(steps, "build_bento", "bento"),
        rows=rows,
        quarantine=quarantine if rows.quarantined else None,
        on_disk=account,
        seconds=seconds,
    )


def print_summary(summary: Summary, confidence: float, cached: bool, stack: Stack) -> None:
    """Print the closing table."""
    from rich.table import Table

    console = open_console()
    title = f"{summary.problem}{' (synthetic data)' if summary.synthetic else ''}: {summary.task}"
    board = Table(title=f"\n{title}", title_justify="left", title_style="bold")
    for name in (
        "candidate",
        f"mean {summary.metric} of folds",
        "deviation",
        "seconds",
        "beside the chosen",
    ):
        board.add_column(name, justify="left" if name in ("candidate", "beside the chosen") else "right")
    for entry in summary.leaderboard:
        board.add_row(
            entry.candidate,
            f"{entry.metric:.4f}",
            f"{entry.std:.4f}",
            f"{entry.seconds:.1f}",
            standing(entry.p_value),
        )
    console.print(board)

    facts = make_facts()
    for name, interval in summary.holdout.items():
        facts.add_row(
            f"holdout {name}",
            f"{interval.value:.4f}  ({confidence:.0%} interval {interval.low:.4f} to {interval.high:.4f}; "
            f"baseline {summary.baseline[name]:.4f})",
        )
    facts.add_row("slices", summary.worst_slice)
    if summary.left_out:
        facts.add_row("left out", f"{', '.join(summary.left_out)}: {summary.why_left_out}")
    rows = summary.rows
    parts = f"{rows.used} used + {rows.quarantined} quarantined + {rows.duplicates} duplicates"
    facts.add_row("rows", f"{rows.read} read = {parts}")
    if summary.on_disk:
        facts.add_row("on disk", summary.on_disk.sentence)
    if summary.quarantine:
        facts.add_row("quarantine", summary.quarantine)
    facts.add_row("model version", summary.model_version)
    facts.add_row("champion", _champion(summary))
    facts.add_row("why", summary.reason)
    facts.add_row("bundle", summary.bundle_digest)
    facts.add_row(
        "run", f"{summary.run_name}{' (all of it cached)' if cached else ''}, {summary.seconds:.1f} s"
    )
    console.print(facts)

    where = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    told = f"the service, with {summary.bento}" if summary.bento else "needs a champion"
    where.add_row(f"make serve PROBLEM={summary.problem}", told)
    dashboard = stack.server.url if stack.server else "make dashboard"
    where.add_row(dashboard, "lineage, checks, plots and the model card in ZenML's dashboard")
    mlflow = stack.components["experiment_tracker"].configuration.get("tracking_uri", "make mlflow")
    where.add_row(mlflow, f"runs and versions in MLflow, experiment '{summary.problem}'")
    console.print("\n[bold]Where to look[/bold]")
    console.print(where)


def _champion(summary: Summary) -> str:
    before = f"version {summary.champion_before}" if summary.champion_before else "none"
    after = f"version {summary.champion_version}" if summary.champion_version else "none"
    return f"{before}, unchanged" if before == after else f"{before} -> {after}"


def _output(steps: dict[str, StepRunResponse], step: str, name: str) -> Any:
    return steps[step].outputs[name][0].load()
