"""One at a time where two runs would otherwise both decide."""

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
            yield lease.confirm
        return
    folder = Path(os.environ["MILLRACE_HOME"]) / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"registry-{name}.lock"):
        yield lambda: None
