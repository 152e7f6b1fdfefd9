"""The BentoML service: one BentoML model, that is one bundle, behind HTTP.

Which one is an argument of the Bento, recorded when it is built. The bundle is verified and loaded
on import: a damaged one ends `bentoml serve` with a sentence, where a failing worker would be
restarted for ever.
"""

from pathlib import Path

import bentoml
from bentoml.exceptions import BentoMLException
from pydantic import BaseModel

from bentos.app import make_app
from bentos.build import BUNDLE, VERSION
from millrace.bundle import Bundle, load_bundle
from millrace.errors import UserError


class Arguments(BaseModel):
    """What a Bento is built for: the tag of a BentoML model that `bentos.build.store_model` made."""

    model: str


def _load(model: bentoml.Model) -> Bundle:
    try:
        return load_bundle(Path(model.path) / BUNDLE)
    except UserError as error:
        raise BentoMLException(str(error)) from None


tag = bentoml.use_arguments(Arguments).model
stored = bentoml.models.get(tag)
app = make_app(_load(stored), {"name": stored.tag.name, "version": stored.info.labels[VERSION]})


@bentoml.service(
    workers=1,
    traffic={"timeout": 30},
    # BentoML's own metrics keep a series for every path that anybody ever asked for.
    metrics={"enabled": False},
)
# As a plain function: of a Starlette object BentoML takes only the known paths, and answers the
# others itself, in plain text.
@bentoml.asgi_app(app.__call__)
class Prediction:
    """Predictions of one model."""

    model = bentoml.models.BentoModel(tag)
