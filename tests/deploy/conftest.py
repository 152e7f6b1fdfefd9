"""One staging for all tests of this folder."""

from collections.abc import Iterator

import pytest

from tests.deploy.running import RunningStaging, running_staging


@pytest.fixture(scope="session")
def staging() -> Iterator[RunningStaging]:
    with running_staging() as started:
        yield started
