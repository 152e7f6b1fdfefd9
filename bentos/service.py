"""The BentoML service: one BentoML model, that is one bundle, behind HTTP, and who serves beside it.

Which model is an argument of the Bento, recorded when it is built. Bundles are verified and loaded on
import: a damaged one ends `bentoml serve` with a sentence, where a failing worker would be restarted
for ever.
"""

import gc
import logging
import sys
from dataclasses import replace
from pathlib import Path

import bentoml
from bentoml.exceptions import BentoMLException
from pydantic import BaseModel

from bentos.access import Gate
from bentos.app import Application
from bentos.build import bentoml_home
from bentos.door import Door
from bentos.models import load_variant
from bentos.records import Records
from bentos.routes import PATHS
from bentos.settings import ServiceSettings, from_environment
from bentos.watch import Watcher
from millrace.errors import UserError
from millrace.lineup import Lineup, Role, Variant
from millrace.prediction_log import PredictionLog
from millrace.service_metrics import ServiceMetrics


class Arguments(BaseModel):
    """What a Bento is built for: the tag of a BentoML model that `bentos.build.store_model` made."""

    model: str


def _open(tag: str, settings: ServiceSettings) -> Application:
    champion = load_variant("champion", tag)

    def beside(role: Role, other: str | None) -> Variant | None:
        # A model that is compared with itself is loaded once.
        return replace(champion, role=role) if other == tag else load_variant(role, other) if other else None

    challenger, shadow = beside("challenger", settings.challenger), beside("shadow", settings.shadow)
    lineup = Lineup(champion, challenger, settings.challenger_share, shadow)
    gate = Gate.read(settings.api_keys, settings.workers) if settings.api_keys else None
    return Application(lineup, gate=gate, origins=settings.origins, body_seconds=settings.body_seconds)


tag = bentoml.use_arguments(Arguments).model
name = bentoml.Tag.from_str(tag).name
try:
    settings = from_environment()
    settings.log_settings(name, Path())
    application = _open(tag, settings)
except UserError as error:
    raise BentoMLException(str(error)) from None


@bentoml.service(
    workers=settings.workers,
    # BentoML's own metrics keep a series for every path that anybody ever asked for; ours do not.
    metrics={"enabled": False},
)
class Prediction:
    """Predictions of one model."""

    model = bentoml.models.BentoModel(tag)

    @bentoml.on_startup
    def start(self) -> None:
        """Begin what goes on beside the requests, once a worker."""
        watcher = ServiceMetrics(PATHS)
        about = settings.log_settings(name, bentoml_home())
        problem = application.live.lineup.champion.bundle.problem
        kept = PredictionLog(about, problem, watcher) if about else None
        application.keep(Records(watcher, kept, settings.verdict_file(name, bentoml_home())))
        self.looking = Watcher(application, name, settings.watch_seconds) if settings.watch_seconds else None
        if self.looking is not None:
            self.looking.start()
        # Uvicorn makes a line of each request, which BentoML's settings do not show: it has no reader then.
        logging.getLogger("uvicorn.access").propagate = False
        # The thread that writes the log gives way at once to one that answers.
        sys.setswitchinterval(0.001)
        # What has been loaded stays: searching it for garbage would stop every request a while.
        gc.collect()
        gc.freeze()

    @bentoml.on_shutdown
    def stop(self) -> None:
        """End it: what waits is written."""
        if self.looking is not None:
            self.looking.close()
        if application.records is not None:
            application.records.close()


Prediction.add_asgi_middleware(Door, application=application)
