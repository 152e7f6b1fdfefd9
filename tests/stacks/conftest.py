"""Servers for a staging stack, started once for the tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

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


@pytest.fixture
def mlflow(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """MLflow's own client of the staging stack."""
    for theirs, ours in (("USERNAME", "USER"), ("PASSWORD", "PASSWORD")):
        monkeypatch.setenv(
            f"MLFLOW_TRACKING_{theirs}", servers.environment[f"MILLRACE_STAGING_MLFLOW_{ours}"]
        )
    url = servers.environment["MILLRACE_STAGING_MLFLOW_URL"]
    return MlflowClient(url, url)
