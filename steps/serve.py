"""The champion as a BentoML model and a built Bento."""

from typing import Annotated

from zenml import step

from millrace.registry import Registry
from stacks.environment import home
from stacks.tracking import tracking_uri
from steps.promote import Promotion


# Never cached: it is quick when the Bento is there, and the store may have been emptied.
@step(enable_cache=False)
def build_bento(promotion: Promotion) -> Annotated[str, "bento"]:
    """Store the champion's bundle and build its Bento, unless both exist; returns the Bento's tag."""
    from bentos.build import build_bento as build
    from bentos.build import store_model

    champion = promotion.champion
    if champion is None:
        return ""
    folder = Registry(champion.name, tracking_uri()).fetch_bundle(champion.version, home() / "cache")
    return build(store_model(folder, champion.name, champion.digest, champion.version))
