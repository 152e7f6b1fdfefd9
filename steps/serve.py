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
    return _build(promotion.champion) if promotion.champion else ""


@step(enable_cache=False)
def build_appointed_bento(appointment: Appointment) -> Annotated[str, "bento"]:
    """The same for a champion that no training has chosen."""
    return _build(appointment.champion)


def build_champion(stack: str, problem: str) -> str:
    """The same for the champion of a stack's registry, fetched and verified; this machine serves it next.

    Raises:
        UserError: see `stacks.source.fetch`.
    """
    from bentos.build import build_bento as build
    from bentos.build import store_model

    champion = fetch(stack, problem, None)
    return build(store_model(champion.folder, problem, champion.digest, champion.version))


def _build(champion: Registration) -> str:
    from bentos.build import build_bento as build
    from bentos.build import store_model

    folder = Registry(champion.name, tracking_uri()).fetch_bundle(champion.version, home() / "cache")
    return build(store_model(folder, champion.name, champion.digest, champion.version))


if __name__ == "__main__":
    environment.prepare()
    try:
        print(build_champion(*sys.argv[1:]))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
