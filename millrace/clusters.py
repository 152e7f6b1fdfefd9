"""Dask clusters: one that is there, by the address of its scheduler, or one of this machine's processors."""

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from distributed import Client, LocalCluster

from millrace.errors import EngineError

# With another version of one of these, a result may be another.
LIBRARIES = ("lightgbm", "numpy", "pandas", "pyarrow")
# Seconds until a scheduler must have answered, and until it must have a worker.
ANSWER, WORKERS = 10, 60


class OrderedClient(Client):
    """Tells where futures are in the order in which they are asked for, where Dask's own has none.

    LightGBM numbers its machines in that order, and which of them finds a feature's bins is by the number.
    """

    def who_has(self, futures: Any = None, **options: Any) -> Any:
        """The workers that hold each future, by its key."""
        found = super().who_has(futures, **options)  # type: ignore[no-untyped-call]
        return {future.key: found[future.key] for future in futures} if futures else found


@contextmanager
def connected(scheduler: str | None) -> Iterator[Client]:
    """A client of a scheduler (`tcp://HOST:PORT`), or else of a cluster started for it on this machine.

    Raises:
        EngineError: no scheduler answers, it has no workers, or these have other libraries.
    """
    if scheduler is None:
        with _local() as client:
            yield client
        return
    try:
        client = OrderedClient(scheduler, timeout=ANSWER, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        raise EngineError(f"--scheduler {scheduler}: does not answer: {short(error)}.") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKERS)
        except TimeoutError:
            raise EngineError(f"--scheduler {scheduler}: has no workers; start some first.") from None
        _compare(client)
        yield client


@contextmanager
def _local() -> Iterator[Client]:
    """A worker a processor, each a process of one thread; only who started them can speak to them."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        LocalCluster(
            n_workers=len(os.sched_getaffinity(0)),
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            local_directory=scratch,
            security=True,
        ) as cluster,
        OrderedClient(cluster, set_as_default=False) as client,  # type: ignore[no-untyped-call]
    ):
        yield client


def _compare(client: Client) -> None:
    """See that the workers have the libraries that this process has.

    Raises:
        EngineError: names a worker that has not.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: Any = client.get_versions(packages=LIBRARIES)
    own = found["client"]["packages"]
    for address, worker in found["workers"].items():
        for name in ("python", "dask", "distributed", "cloudpickle", *LIBRARIES):
            theirs = worker["packages"].get(name)
            if theirs != own[name]:
                raise EngineError(
                    f"The worker {address} has {name} {theirs or 'not at all'}, this process {own[name]}; "
                    "start workers and jobs from one image, or the same requirements."
                )


def short(error: BaseException) -> str:
    """What an exception says, on one line without a full stop."""
    return f"{error}".partition("\n")[0].rstrip(".") or type(error).__name__
