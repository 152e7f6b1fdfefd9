"""What a promotion or a roll-back would do: the registry is asked, ZenML is not even opened."""

import time
from pathlib import Path

from millrace.errors import UserError
from millrace.registry import CHAMPION, Registry
from millrace.succession import Contract, compare_contracts, next_roll_back, read_contract, verified_contract
from pipelines.closing import write_summary
from pipelines.promotion_summary import PromotionSummary, print_summary
from stacks.environment import home
from stacks.source import Fetched
from stacks.stack_files import Stack
from stacks.tracking import tracking_uri_of


def report(name: str, *, fetched: Fetched | None, summary: Path | None, started: float, stack: Stack) -> None:
    """Print what the pipeline would do.

    Raises:
        UserError: as the pipeline.
    """
    outcome = plan(name, fetched, stack, started)
    if summary is not None:
        write_summary(outcome, summary)
    print_summary(outcome, stack)


def plan(name: str, fetched: Fetched | None, stack: Stack, started: float) -> PromotionSummary:
    """Say what the pipeline would do on a stack; nothing is written but this machine's cache of downloads.

    Raises:
        UserError: as the pipeline.
    """
    uri = tracking_uri_of(stack)
    if fetched is None:
        if uri is None:
            raise UserError(f"The stack '{stack.name}' has no registry yet.")
        return _plan_roll_back(Registry(name, uri), stack, started)
    found = before = None
    contract: Contract = "same"
    if uri is not None:
        registry = Registry(name, uri)
        found, before = registry.find(fetched.digest), registry.with_alias(CHAMPION)
        if found is not None:
            verified_contract(registry, found)
        contract = compare_contracts(registry, before, read_contract(fetched.folder), home() / "cache")
    return PromotionSummary(
        problem=name,
        source=fetched.stack,
        source_version=fetched.version,
        target=stack.name,
        version=found.version if found else None,
        digest=fetched.digest,
        added=found is None,
        champion_before=before.version if before else None,
        contract=contract,
        seconds=time.perf_counter() - started,
    )


def _plan_roll_back(registry: Registry, stack: Stack, started: float) -> PromotionSummary:
    move, version = next_roll_back(registry)
    contract = verified_contract(registry, version)
    left = registry.get(move.left)
    return PromotionSummary(
        problem=registry.name,
        source=None,
        source_version=None,
        target=stack.name,
        version=version.version,
        digest=version.digest,
        added=False,
        champion_before=move.left,
        contract=compare_contracts(registry, left, contract, home() / "cache"),
        seconds=time.perf_counter() - started,
    )
