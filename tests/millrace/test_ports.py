"""A port that somebody listens on is named; others are free."""

import socket
import subprocess
from collections.abc import Iterator

import pytest

from millrace.errors import UserError
from millrace.ports import require_free
from tests.bentos.running import free_port
from tests.conftest import ROOT


@pytest.fixture
def shared_port() -> Iterator[int]:
    """A port on which somebody listens who lets others listen, too."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_port_is_free_where_nobody_listens() -> None:
    require_free(f"http://127.0.0.1:{free_port()}")


def test_another_program_that_shares_its_port_is_found(shared_port: int) -> None:
    with pytest.raises(UserError, match=f"127.0.0.1:{shared_port} is taken"):
        require_free(f"http://127.0.0.1:{shared_port}")


def test_make_serve_does_not_share_a_port(shared_port: int) -> None:
    command = ["make", "serve", f"PORT={shared_port}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"error: 127.0.0.1:{shared_port} is taken" in done.stderr
