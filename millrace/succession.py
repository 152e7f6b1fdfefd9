"""One champion after another: what must hold before the alias moves, and what callers notice."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from millrace.bundle import CONTRACT, read_json
from millrace.contract import Problem, parse_problem
from millrace.errors import UserError
from millrace.lineup import contract_differs
from millrace.registry import Move, Registration, Registry

# Of the champion before, whose callers go on as they do or not; unknown where its bundle is lost.
Contract = Literal["same", "other", "unknown"]


def verified_contract(registry: Registry, version: Registration) -> Problem:
    """The contract of a version whose bundle was fetched just now from where it is, and is whole.

    Raises:
        UserError: it is not.
    """
    with TemporaryDirectory() as fresh:
        return read_contract(registry.fetch_verified(version, Path(fresh)))


def compare_contracts(
    registry: Registry, before: Registration | None, contract: Problem, cache: Path
) -> Contract:
    """Whether services that serve the champion before would take over one with this contract."""
    if before is None:
        return "same"
    try:
        old = read_contract(registry.fetch_verified(before, cache))
    except UserError:
        # A champion that is lost is no reason to keep it.
        return "unknown"
    return "other" if contract_differs(old, contract) else "same"


def next_roll_back(registry: Registry) -> tuple[Move, Registration]:
    """From which champion to which one a roll-back goes.

    Raises:
        UserError: no champion before the present one is known.
    """
    move = registry.next_roll_back()
    version = registry.get(move.version) if move else None
    if move is None or version is None:
        raise UserError(
            f"The registry at {registry.tracking_uri} knows of no champion of '{registry.name}' before the "
            "present one; promote a version by --from, --to and --version instead."
        )
    return move, version


def read_contract(bundle: Path) -> Problem:
    """The contract in a bundle's folder."""
    return parse_problem(read_json(bundle / CONTRACT))
