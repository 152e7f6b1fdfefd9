"""Another model without a restart: a worker looks for another latest Bento and takes its bundle over.

Each worker looks for itself. What is found is loaded and tried beside the one that serves, which goes on
until the new one is known to answer as recorded and to take the same requests; if it is not, it is said
once and the old one stays.
"""

import logging
import threading
from dataclasses import replace

from bentos.app import Application
from bentos.build import latest_model
from bentos.models import load_variant
from millrace.errors import UserError
from millrace.lineup import Lineup
from millrace.selftest import check_selftest

log = logging.getLogger("millrace.service")


class Watcher(threading.Thread):
    """Looks every `seconds` until `close` is called."""

    def __init__(self, application: Application, name: str, seconds: float) -> None:
        super().__init__(name="millrace-watch", daemon=True)
        self.application = application
        self.model = name
        self.seconds = seconds
        self._seen = latest_model(name)
        self._ended = threading.Event()

    def run(self) -> None:
        """Look, again and again."""
        while not self._ended.wait(self.seconds):
            self.look()

    def close(self) -> None:
        """Stop looking."""
        self._ended.set()

    def look(self) -> None:
        """Take over the model of the latest Bento, if it is another one than at the last look."""
        tag = latest_model(self.model)
        if tag is None or tag == self._seen:
            return
        self._seen = tag
        before = self.application.live.lineup
        try:
            self.application.take_over(_successor(before, tag))
        except UserError as error:
            log.error("%s stays: %s does not take over: %s", before.champion.identity, tag, error)
        except Exception:
            log.exception("%s stays: %s could not be loaded.", before.champion.identity, tag)
        else:
            log.warning("%s has taken over from %s.", tag, before.champion.identity)


def _successor(lineup: Lineup, tag: str) -> Lineup:
    champion = load_variant("champion", tag)
    check_selftest(champion.bundle)
    # Callers know the old contract: what they send must be understood after the change, too.
    Lineup(lineup.champion, challenger=replace(champion, role="challenger")).check()
    return replace(lineup, champion=champion)
