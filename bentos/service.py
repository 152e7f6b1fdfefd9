"""The BentoML service: one BentoML model, that is one bundle, behind HTTP, and who serves beside it.

Which model is an argument of the Bento, recorded when it is built. Bundles are verified and loaded on
import: a damaged one ends `bentoml serve` with a sentence, where a failing worker would be restarted
for ever.
"""

import gc
import sys
from pathlib import Path
from typing import Any

import bentoml
from bentoml.exceptions import BentoMLException
from pydantic import BaseModel

from bentos.access import Gate
from bentos.app import Application
from bentos.build import bentoml_home
from bentos.models import load_variant
from bentos.records import Records
from bentos.routes import PATHS
from bentos.settings import ServiceSettings, from_environment
from bentos.watch import Watcher
from millrace.errors import UserError
from millrace.lineup import Lineup
from millrace.prediction_log import PredictionLog
from millrace.service_metrics import ServiceMetrics


class Arguments(BaseModel):
    """What a Bento is built for: the tag of a BentoML model that `bentos.build.store_model` made."""

    model: str


class Door:
    """Lets HTTP in before BentoML's own application, which keeps what is not HTTP: start and shutdown."""

    def __init__(self, app: Any, application: Application) -> None:
        self.app = app
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass one connection on."""
        await (self.application if scope["type"] == "http" else self.app)(scope, receive, send)


def _open(tag: str, settings: ServiceSettings) -> Application:
    lineup = Lineup(
        champion=load_variant("champion", tag),
        challenger=load_variant("challenger", settings.challenger) if settings.challenger else None,
        share=settings.challenger_share,
        shadow=load_variant("shadow", settings.shadow) if settings.shadow else None,
    )
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
    traffic={"timeout": 30},
    # BentoML's own metrics keep a series for every path that anybody ever asked for; ours do not.
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
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
        application.keep(Records(watcher, kept))
        self.looking = Watcher(application, name, settings.watch_seconds) if settings.watch_seconds else None
        if self.looking is not None:
            self.looking.start()
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
