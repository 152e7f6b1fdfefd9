"""One at a time where two runs would otherwise both decide."""

import os
from pathlib import Path

from filelock import FileLock


def registry_lock(name: str) -> FileLock:
    """A lock around reading and changing one problem's registered model on this machine."""
    folder = Path(os.environ["MILLRACE_HOME"]) / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"registry-{name}.lock")
