"""A port that somebody listens on is named; others are free."""

import socket
import subprocess

import pytest

from millrace.errors import UserError
from millrace.ports import require_free
from tests.bentos.running import free_port
from tests.conftest import ROOT


def test_a_port_is_free_where_nobody_listens() -> None:
    require_free(f"http://127.0.0.1:{free_port()}")


def test_another_program_that_shares_its_port_is_found() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(UserError, match=f"127.0.0.1:{other.getsockname()[1]} is taken"):
            require_free(f"http://127.0.0.1:{other.getsockname()[1]}")


def test_make_serve_does_not_share_a_port() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = subprocess.run(
            ["make", "serve", f"PORT={port}"], cwd=ROOT, capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 2
    assert f"error: 127.0.0.1:{port} is taken" in done.stderr
