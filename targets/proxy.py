"""HAProxy before two places of a service, of which one has the traffic; its runtime API is told which.

Documentation: "HAProxy Management Guide", 9.3 "Unix Socket commands". No reload and no closed connection is
part of a switch: the next request of a connection goes to the other place.
"""

import contextlib
import csv
import io
import socket
from pathlib import Path
from typing import Literal

from millrace.durable import write_whole
from millrace.errors import UserError
from targets.target import Traffic

Colour = Literal["blue", "green"]
COLOURS: tuple[Colour, Colour] = ("blue", "green")
BACKEND = "service"
# As long as a service waits for a body, and some: docs/serving.md, "What a proxy has to do".
CONFIGURATION = "haproxy.cfg"
SOCKET = "haproxy.sock"
TEMPLATE = """\
# Written by Millrace (targets/proxy.py); changed with every switch.
global
    log stderr format raw local0 notice
    stats socket unix@haproxy.sock mode 600 level admin
    maxconn {connections}
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-request 30s
    timeout http-keep-alive 60s
    option forwardfor
frontend entrance
    bind {bind}
    default_backend service
backend service
{servers}
"""
CONNECTIONS = 2000
TIMEOUT = 10.0


def other(colour: Colour) -> Colour:
    """The other one of two."""
    return "green" if colour == "blue" else "blue"


class Proxy:
    """A HAProxy that was started in a folder with the configuration there; it makes its socket there, too.

    `addresses` are where it finds the colours, `bind` where it listens.
    """

    def __init__(self, folder: Path, bind: str, addresses: dict[Colour, str]) -> None:
        self.configuration = folder / CONFIGURATION
        self._folder = folder
        self._bind = bind
        self._addresses = addresses
        self._began = Traffic(0, 0)

    def configured(self) -> Colour | None:
        """To which colour the configuration sends requests."""
        if not self.configuration.is_file():
            return None
        lines = [line.split() for line in self.configuration.read_text(encoding="utf-8").splitlines()]
        on = [words[1] for words in lines if words[:1] == ["server"] and words[-1] != "disabled"]
        return next((colour for colour in COLOURS if [colour] == on), None)

    def configure(self, active: Colour | None) -> None:
        """Write the configuration with which a HAProxy that starts sends all requests to one colour."""
        servers = "\n".join(
            f"    server {colour} {address}" + ("" if colour == active else " disabled")
            for colour, address in self._addresses.items()
        )
        text = TEMPLATE.format(bind=self._bind, servers=servers, connections=CONNECTIONS)
        write_whole(self.configuration, text.encode())

    def forget(self) -> None:
        """Let it be as before the first HAProxy in this folder."""
        self.configuration.unlink(missing_ok=True)
        (self._folder / SOCKET).unlink(missing_ok=True)

    def switch(self, colour: Colour | None) -> None:
        """Send all further requests to one colour; what has begun ends where it is. None: to nobody.

        First the new one is let in, then the old one is left: at no moment there is none.
        """
        self._began = self._totals()
        for each in sorted(COLOURS, key=lambda each: each != colour):
            self._tell(f"set server {BACKEND}/{each} state {'ready' if each == colour else 'drain'}")
        self.configure(colour)

    def active(self) -> Colour | None:
        """The one colour that gets requests; None if that is neither, or still both."""
        ready = [
            colour for colour in COLOURS if not self._row(colour)["status"].startswith(("DRAIN", "MAINT"))
        ]
        return ready[0] if len(ready) == 1 else None

    def busy(self, colour: Colour) -> int:
        """Requests that a colour is at."""
        return int(self._row(colour)["scur"])

    def traffic(self) -> Traffic:
        """Requests since the last `switch`, and how many of them were answered by a 5xx."""
        now = self._totals()
        return Traffic(now.requests - self._began.requests, now.failed - self._began.failed)

    def answers(self) -> bool:
        """Whether a HAProxy is there to be asked."""
        try:
            self._tell("show info")
        except UserError:
            return False
        return True

    def _totals(self) -> Traffic:
        row = self._row("BACKEND")
        return Traffic(float(row["req_tot"]), float(row["hrsp_5xx"]))

    def _row(self, server: str) -> dict[str, str]:
        table = self._tell("show stat").removeprefix("# ")
        return next(
            row
            for row in csv.DictReader(io.StringIO(table))
            if row["pxname"] == BACKEND and row["svname"] == server
        )

    def _tell(self, command: str) -> str:
        """Give a command; returns what is said to it.

        Raises:
            UserError: nobody is there, or the command is refused.
        """
        try:
            # From its folder: the path of a socket has at most some hundred characters.
            with socket.socket(socket.AF_UNIX) as connection, contextlib.chdir(self._folder):
                connection.settimeout(TIMEOUT)
                connection.connect(SOCKET)
                connection.sendall(f"{command}\n".encode())
                said = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        except OSError as error:
            where = self._folder / SOCKET
            raise UserError(f"HAProxy does not answer at {where} ({error.strerror or error}).") from None
        if command.startswith("set") and said.strip():
            raise UserError(f"HAProxy does not take '{command}': {said.strip()}")
        return said
