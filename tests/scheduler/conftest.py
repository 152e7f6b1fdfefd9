"""A home for a scheduler."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scheduler.running import Running, running


@pytest.fixture
def scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A scheduler that is not started yet, and knows no token but its own."""
    for name in ("MILLRACE_SCHEDULER_TOKEN", "MILLRACE_SCHEDULER_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    with running(tmp_path / "home") as found:
        yield found
