"""One at a time where two runs would otherwise both decide, or do the same."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def registry_lock(name: str) -> Iterator[Callable[[], None]]:
    """A lock around reading and changing one problem's registered model, on all machines that share it.

    Yields a function to call before what cannot be undone: it raises a UserError if the lock was lost.
    Where ZenML's store is on this machine, a file is enough, and is given back when a process dies.
    """
    from filelock import FileLock
    from zenml.config.global_config import GlobalConfiguration

    from stacks.lease import leased

    if not GlobalConfiguration().uses_local_store:
        with leased(f"lock-registry-{name}") as lease:
            assert lease is not None
            yield lease.confirm
        return
    with FileLock(_file(f"registry-{name}")):
        yield lambda: None


@contextmanager
def only_one(name: str) -> Iterator[bool]:
    """Whether this process has a lock; False if another one, on any machine that shares it, has it now."""
    from filelock import FileLock, Timeout
    from zenml.config.global_config import GlobalConfiguration

    from stacks.lease import leased

    if not GlobalConfiguration().uses_local_store:
        with leased(f"lock-{name}", wait=False) as lease:
            yield lease is not None
        return
    lock = FileLock(_file(name))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _file(name: str) -> Path:
    folder = Path(os.environ["MILLRACE_HOME"]) / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.lock"
