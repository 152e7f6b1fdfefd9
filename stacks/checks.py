"""What must hold before a run: everything a stack needs is installed, configured, reachable and usable."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from packaging.requirements import Requirement
from pydantic import ValidationError

from millrace.errors import UserError, nearest
from millrace.yaml_files import describe
from stacks import probes
from stacks.flavors import config_class, unknown_keys
from stacks.probes import FaultError
from stacks.stack_files import Component, Stack

# What is asked of each flavor; those that are not here need no more than their configuration.
PROBES: dict[tuple[str, str], Callable[[Stack, Component, float], Iterator[str]]] = {
    ("orchestrator", "kubernetes"): probes.kubernetes,
    ("artifact_store", "local"): probes.folder,
    ("artifact_store", "s3"): probes.s3,
    ("experiment_tracker", "mlflow"): probes.mlflow,
    ("container_registry", "default"): probes.registry,
    ("image_builder", "local"): probes.docker,
}


@dataclass(frozen=True)
class Check:
    """One thing looked at: of which part of the stack, what was found; a remedy if it is at fault."""

    part: str
    found: str
    remedy: str = ""


def check_stack(stack: Stack, patience: float = 3.5) -> list[Check]:
    """Look at every part of a stack; a part is followed up to its first fault.

    A server that does not answer within `patience` seconds is at fault.

    What is here is looked at in turn, as ZenML cannot be imported by two threads at once; then everything
    that is elsewhere is asked at the same time.
    """
    checks: dict[str, list[Check]] = {}
    questions: dict[str, Iterator[str]] = {}
    if stack.server:
        checks["server"], questions["server"] = [], probes.zenml(stack, patience)
    for kind, component in stack.components.items():
        part = f"{kind} ({component.flavor})"
        checks[part] = _followed(part, _here(stack, kind, component))
        probe = PROBES.get((kind, component.flavor))
        if probe and not any(check.remedy for check in checks[part]):
            questions[part] = probe(stack, component, patience)
    with ThreadPoolExecutor(len(checks)) as pool:
        for part, answers in zip(questions, pool.map(_followed, questions, questions.values()), strict=True):
            checks[part] += answers
    return [check for found in checks.values() for check in found]


def require_health(stack: Stack) -> None:
    """Check a stack before a run, with more patience: a busy server is no reason not to run.

    Raises:
        UserError: with a table of what is at fault and how to mend it.
    """
    faults = [check for check in check_stack(stack, patience=20) if check.remedy]
    if faults:
        raise UserError(f"The stack '{stack.name}' is not ready; nothing was run.\n{table(faults)}")


def table(checks: list[Check]) -> str:
    """The checks as a table to print."""
    from io import StringIO

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    board = Table()
    for name in ("part", "", "found", "remedy"):
        board.add_column(name, overflow="fold")
    for check in checks:
        # As Text: brackets in what servers say are no markup.
        board.add_row(check.part, "fault" if check.remedy else "ok", Text(check.found), Text(check.remedy))
    console = Console(highlight=False)
    width = console.width if console.is_terminal else 140
    text = StringIO()
    Console(file=text, width=width, highlight=False).print(board)
    return text.getvalue().rstrip()


def _followed(part: str, findings: Iterator[str]) -> list[Check]:
    """What is found of one part; findings end at the first fault."""
    checks = []
    try:
        for finding in findings:
            checks.append(Check(part, finding))  # noqa: PERF401
    except FaultError as fault:
        checks.append(Check(part, fault.found, fault.remedy))
    return checks


def _here(stack: Stack, kind: str, component: Component) -> Iterator[str]:
    """What a component needs on this machine: packages, and a configuration that its flavor takes."""
    for text in component.requires:
        yield _installed(Requirement(text))
    _valid(stack, kind, component)
    if (kind, component.flavor) not in PROBES:
        yield "nothing to ask" if component.flavor == "local" else "configured; it is not asked"


def _installed(requirement: Requirement) -> str:
    remedy = f"make, or: uv pip install --python .venv/bin/python '{requirement}'"
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        raise FaultError(f"{requirement.name} is not installed", remedy) from None
    if not requirement.specifier.contains(found, prereleases=True):
        raise FaultError(f"{requirement.name} {found} is installed; wanted {requirement.specifier}", remedy)
    return f"{requirement.name} {found}"


def _valid(stack: Stack, kind: str, component: Component) -> None:
    """Raise a FaultError for a value that ZenML refuses, and for a key that it would leave out silently."""
    from zenml.exceptions import ArtifactStoreInterfaceError

    model = config_class(kind, component.flavor)
    remedy = f"Correct configs/stacks/{stack.name}.yaml, components.{kind}.configuration."
    try:
        unknown = unknown_keys(kind, component.flavor, component.configuration)
    except ValidationError as error:
        raise FaultError(" ".join(describe(detail, model) for detail in error.errors()), remedy) from None
    except (ValueError, ArtifactStoreInterfaceError) as error:
        raise FaultError(str(error), remedy) from None
    for key, known in unknown:
        raise FaultError(f"unknown key '{key}'.{nearest(key.rpartition('.')[2], known)}", remedy)
