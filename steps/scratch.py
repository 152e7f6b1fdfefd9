"""A folder of this process for files on their way; those that killed processes have left are taken away."""

import atexit
import shutil
from functools import cache
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from stacks.environment import home


def scratch() -> Path:
    """The folder, deleted when the process ends; below the home, so that moving from it copies nothing."""
    return owned(home() / "scratch")[0]


@cache
def owned(base: Path) -> tuple[Path, FileLock]:
    """A new folder in `base`, and the lock beside it that is held as long as this process lives."""
    base.mkdir(parents=True, exist_ok=True)
    for path in base.glob("*.lock"):
        try:
            # Given back when its process dies.
            with FileLock(path, blocking=False):
                shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                path.unlink(missing_ok=True)
        except Timeout:
            continue
    folder = base / uuid4().hex
    # A step may run in another thread than the one that ends the process.
    lock = FileLock(folder.with_suffix(".lock"), thread_local=False)
    # First, as a folder beside a lock that nobody holds is taken away.
    lock.acquire()
    folder.mkdir()
    atexit.register(_give_back, folder, lock)
    return folder, lock


def _give_back(folder: Path, lock: FileLock) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()
