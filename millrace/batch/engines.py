"""Who scores a job's batches: threads of this process, or the workers of a Dask cluster.

Either is given batches and gives back what became of them; reading, writing and publishing stay with the
job. So the same files come out, and a job that one engine began another may end.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import pyarrow as pa

from millrace.batch.rows import Asked, RowScorer, Scored
from millrace.bundle import Bundle
from millrace.engine import EngineName
from millrace.sources.streams import Batch

# Batches that wait for a processor, for each of them: what memory is used for.
AHEAD = 2


class Pending(Protocol):
    """A batch that is being scored."""

    def result(self) -> Scored:
        """What became of it, once that is known; or what went wrong, raised."""

    def cancel(self) -> object:
        """Do not score it any more."""


class Engine(Protocol):
    """Scores batches, several at once."""

    def processors(self) -> int:
        """How many batches are scored at once."""

    def submit(self, table: pa.Table, start: int, origin: str) -> Pending:
        """Begin with the rows of a file called `origin` from its row `start` on: see `RowScorer.score`."""


def start(
    engine: EngineName, scheduler: str | None, bundle: Bundle, asked: Asked
) -> AbstractContextManager[Engine]:
    """The engine of that name, with the bundle loaded wherever it scores.

    Raises:
        UserError: the scheduler does not answer, or its workers cannot take the bundle.
    """
    if engine == "local":
        return _threads(bundle, asked)
    from millrace.batch import cluster

    return cluster.start(scheduler, bundle, asked)


def in_order(
    engine: Engine, size: int, origin: str, batches: Iterable[tuple[int, Batch]]
) -> Generator[tuple[int, float, Scored], None, None]:
    """Scored batches of `size` rows in the order they were read, with only a few more in memory."""
    waiting: deque[tuple[int, float, Pending]] = deque()
    try:
        for position, batch in batches:
            pending = engine.submit(batch.table, position * size, origin)
            waiting.append((position, batch.share, pending))
            if len(waiting) > AHEAD * engine.processors():
                first, share, pending = waiting.popleft()
                yield first, share, pending.result()
        while waiting:
            first, share, pending = waiting.popleft()
            yield first, share, pending.result()
    finally:
        for _, _, pending in waiting:
            pending.cancel()


class _Threads:
    def __init__(self, pool: ThreadPoolExecutor, score: Callable[[pa.Table, int, str], Scored]) -> None:
        self._pool, self._score = pool, score

    def processors(self) -> int:
        return len(os.sched_getaffinity(0))

    def submit(self, table: pa.Table, start: int, origin: str) -> Pending:
        return self._pool.submit(self._score, table, start, origin)


@contextmanager
def _threads(bundle: Bundle, asked: Asked) -> Iterator[Engine]:
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        yield _Threads(pool, RowScorer(bundle, asked).score)
