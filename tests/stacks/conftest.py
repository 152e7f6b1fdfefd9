"""Servers for a staging stack, started once for the tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Home, make_home
from tests.stacks.servers import Servers, serve


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Running servers, empty but for a bucket and a service account."""
    with serve(tmp_path_factory.mktemp("servers")) as running:
        yield running


@pytest.fixture
def staged(servers: Servers, tmp_path: Path) -> Home:
    """An empty home whose processes find the servers by their environment."""
    home = make_home(tmp_path / "state")
    return Home(home.path, {**home.environment, **servers.environment})
