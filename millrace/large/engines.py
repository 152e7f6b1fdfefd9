"""Who grows trees on stored rows: threads of this process, or the workers of a Dask cluster."""

from collections.abc import Iterator
from contextlib import contextmanager

from millrace.engine import EngineChoice
from millrace.large.training import Bins, Grow, grow_here


@contextmanager
def growing(engine: EngineChoice, bins: Bins, threads: int) -> Iterator[Grow]:
    """What grows trees while this is open.

    Raises:
        EngineError: the scheduler does not answer, has no workers, or has lost one.
    """
    if engine.name == "local":
        yield grow_here(bins, threads)
        return
    from millrace.large import on_dask

    with on_dask.growing(engine.scheduler, bins) as grow:
        yield grow


def check(engine: EngineChoice) -> None:
    """See that a scheduler that is named answers.

    Raises:
        EngineError: it does not, has no workers, or these have other libraries.
    """
    if engine.scheduler is not None:
        from millrace.clusters import connected

        with connected(engine.scheduler):
            pass
