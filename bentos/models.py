"""Bundles out of BentoML's model store."""

from pathlib import Path

import bentoml
from bentoml.exceptions import BentoMLException

from bentos.build import BUNDLE, VERSION
from millrace.bundle import load_bundle
from millrace.errors import UserError
from millrace.lineup import Role, Variant
from millrace.scoring import Scorer


def load_variant(role: Role, tag: str) -> Variant:
    """Verify and load the bundle of a BentoML model.

    Raises:
        UserError: there is no such model, or it is damaged.
    """
    try:
        stored = bentoml.models.get(tag)
    except BentoMLException as error:
        raise UserError(f"{role}: there is no BentoML model '{tag}' ({error}).") from None
    bundle = load_bundle(Path(stored.path) / BUNDLE)
    return Variant(role, stored.tag.name, stored.info.labels[VERSION], bundle, Scorer(bundle.fitted))
