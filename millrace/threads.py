"""Parts of a table at once: NumPy, Arrow and hashlib let go of Python's lock."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")


def in_threads(work: Callable[[Part], Result], parts: Iterable[Part]) -> list[Result]:
    """The results of `work` in the order of `parts`, from as many threads as there are processors."""
    return list(as_they_come(work, parts))


def as_they_come(work: Callable[[Part], Result], parts: Iterable[Part]) -> Iterator[Result]:
    """The same, each as soon as it and those before it are there."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        yield from pool.map(work, parts)
