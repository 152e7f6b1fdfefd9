"""The champion as a BentoML model and a built Bento.

As a program, `python -m steps.serve STACK PROBLEM`: that of a stack's registry, built on this machine.
"""

import sys
from typing import Annotated

from zenml import step

from millrace.errors import UserError
from millrace.registry import Registration, Registry
from stacks import environment
from stacks.environment import home
from stacks.source import fetch
from stacks.tracking import tracking_uri
from steps.promote import Promotion
from steps.transfer import Appointment


# Never cached: it is quick when the Bento is there, and the store may have been emptied.
@step(enable_cache=False)
def build_bento(promotion: Promotion) -> Annotated[str, "bento"]:
    """Store the champion's bundle and build its Bento, unless both exist; returns the Bento's tag."""
    return build_version(promotion.champion) if promotion.champion else ""


@step(enable_cache=False)
def build_appointed_bento(appointment: Appointment) -> Annotated[str, "bento"]:
    """The same for a champion that no training has chosen."""
    return build_version(appointment.champion)


def build_champion(stack: str, problem: str) -> str:
    """The same for the champion of a stack's registry, fetched and verified; this machine serves it next.

    Raises:
        UserError: see `stacks.source.fetch`.
    """
    from bentos.build import build_bento as build
    from bentos.build import store_model

    champion = fetch(stack, problem, None)
    return build(store_model(champion.folder, problem, champion.digest, champion.version))


def build_version(version: Registration, *, latest: bool = True) -> str:
    """Build a registered version's Bento, unless it is there, and make it the `latest`; returns its tag."""
    from bentos.build import build_bento as build

    return build(store_version(version), latest=latest)


def store_version(version: Registration) -> str:
    """Copy a registered version's bundle into BentoML's model store, unless it is there; returns its tag."""
    from bentos.build import store_model

    folder = Registry(version.name, tracking_uri()).fetch_bundle(version.version, home() / "cache")
    return store_model(folder, version.name, version.digest, version.version)


if __name__ == "__main__":
    environment.prepare()
    try:
        print(build_champion(*sys.argv[1:]))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
