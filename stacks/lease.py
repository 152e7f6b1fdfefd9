"""A lock that machines share: an entity of ZenML's server with a name that only one may have.

ZenML's database lets one of two that create a model of the same name succeed, and deletes by id. So who
finds a lease that is no longer renewed can take away that very one, and not the next holder's. A bucket's
conditional writes would do as well, but not every store that is called S3 has them.
"""

import json
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from millrace.errors import UserError
from stacks.dead_runs import is_dead, this_process

# A holder renews its lease this often, and one that has not been renewed for so long is given up;
# seconds, by the clock of who waits: clocks of several machines are not compared.
RENEWED = 5.0
GIVEN_UP = 30.0
# How often who waits looks again.
PAUSE = 0.5


class Lease:
    """One held lease."""

    def __init__(self, name: str, model: Any, holder: dict[str, Any]) -> None:
        self._name = name
        self._id = model.id
        self._holder = holder
        self._ended = threading.Event()
        self._renewal = threading.Thread(target=self._renew, daemon=True)
        self._renewal.start()

    def confirm(self) -> None:
        """Make sure that it is still held.

        Raises:
            UserError: this process stood still for so long that another one has taken over.
        """
        model = _find(self._name)
        if model is None or model.id != self._id:
            raise UserError(
                f"The lock '{self._name}' was taken over by another run, because this one stood still for "
                f"{GIVEN_UP:.0f} s. Nothing was promoted; run the same command again."
            )

    def end(self) -> None:
        """Give it back."""
        from zenml.client import Client

        self._ended.set()
        self._renewal.join()
        # If it was taken over it is gone; what was done under it, `confirm` has allowed.
        with suppress(KeyError):
            Client().zen_store.delete_model(self._id)

    def _renew(self) -> None:
        from zenml.client import Client
        from zenml.models import ModelUpdate

        beats = 0
        while not self._ended.wait(RENEWED):
            beats += 1
            try:
                update = ModelUpdate(description=json.dumps({**self._holder, "renewed": beats}))
                Client().zen_store.update_model(self._id, update)
            # Of whatever kind: without renewal the lease runs out, and `confirm` says so.
            except Exception:
                continue


@contextmanager
def leased(name: str, wait: bool = True) -> Iterator[Lease | None]:
    """Hold the lease of this name, once whoever holds it gives it back, has died, or is silent.

    Who will not `wait` is given None as soon as a holder is known to live.
    """
    holder = {**this_process(), "holder": uuid.uuid4().hex}
    model = _acquire(name, holder, wait)
    if model is None:
        yield None
        return
    lease = Lease(name, model, holder)
    try:
        yield lease
    finally:
        lease.end()


def _acquire(name: str, holder: dict[str, Any], wait: bool) -> Any:
    from zenml.client import Client
    from zenml.exceptions import EntityExistsError

    client = Client()
    seen, since, told = "", time.monotonic(), False
    while True:
        try:
            return client.create_model(name, description=json.dumps(holder), save_models_to_registry=False)
        except EntityExistsError:
            held = _find(name)
        if held is None:
            continue
        now = time.monotonic()
        state = f"{held.id} {held.description}"
        if state != seen:
            if seen and not wait:
                return None
            seen, since = state, now
        other = json.loads(held.description or "{}")
        if other.get("holder") == holder["holder"]:
            # Created, but the answer was lost and the request repeated.
            return held
        if now - since > GIVEN_UP or (other.get("pid") and is_dead(other)):
            # Somebody else may be as quick.
            with suppress(KeyError):
                client.zen_store.delete_model(held.id)
            continue
        if wait and not told:
            print(
                f"  waiting for the lock '{name}', held on {other.get('host', 'another machine')}",
                file=sys.stderr,
            )
            told = True
        time.sleep(PAUSE)


def _find(name: str) -> Any:
    from zenml.client import Client

    found = Client().list_models(name=f"equals:{name}", hydrate=True).items
    return found[0] if found else None
