"""Somebody who reads the pages in a clone of their own, with .venv activated, and types what they show.

What is typed is what the page shows but for this: what serves is given a free port, and what asks it asks
there; curl ends with an error if it is answered one; a deployment is watched for seconds, not for a minute.
"""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import httpx
import yaml

from millrace import processes
from tests.bentos.running import free_port, is_taken, wait_for
from tests.conftest import ROOT
from tests.docs.pages import Command, words

# Targets of make that serve until they are stopped: the port that pages name, and what tells whether they are
# ready.
SERVERS = {
    "serve": (3000, "/readyz"),
    "scheduler": (3002, "/livez"),
    "mlflow": (5000, "/"),
    "dashboard": (8237, "/"),
}
TARGET = "configs/targets/process.yaml"
# What a person's shell would not have.
OURS = ("MILLRACE_", "ZENML_", "BENTOML_", "MLFLOW_", "PROMETHEUS_", "PYTEST_")
# Seconds that a command, or the start of a server, may take.
PATIENCE = 600.0


class Reader:
    """A clone in `folder`, and the servers that were started there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.page = ""
        self.ports = {server: free_port() for server in SERVERS}
        self.servers: list[subprocess.Popen[bytes]] = []
        # Without state, and what somebody has made who followed the pages here.
        made = shutil.ignore_patterns(".*", "__pycache__", "data", "flats.yaml", "mlruns")
        shutil.copytree(ROOT, folder, ignore=made)
        (folder / ".venv").symlink_to(ROOT / ".venv")
        for path in (folder / "pyproject.toml", *(folder / "requirements").iterdir()):
            # Older than what was installed by them: nothing is installed anew.
            os.utime(path, (0, 0))
        target = folder / TARGET
        settings = {**yaml.safe_load(target.read_text()), "port": self.ports["serve"], "watch_seconds": 3}
        target.write_text(yaml.safe_dump({**settings, "blue_port": free_port(), "green_port": free_port()}))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        path = f"{folder / '.venv' / 'bin'}:{kept['PATH']}"
        self.environment = {**kept, "PATH": path, "OMP_WAIT_POLICY": "PASSIVE"}

    def type(self, command: Command) -> str:
        """Run a command to its end and return what it printed; of a server, until it is ready.

        Servers are stopped where the next page begins.
        """
        if command.page != self.page:
            self.stop()
            self.page = command.page
        text = command.text
        for server, (port, _) in SERVERS.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{self.ports[server]}")
        text = re.sub(r"^curl ", "curl --fail-with-body ", text)
        if "--pipeline simulation" in text:
            text = f"{text} --url http://127.0.0.1:{self.ports['serve']}"
        typed = words(text)
        if "deploy" in typed or "deployment" in typed:
            # Who tries it has ended what was served by hand: both want the one port.
            self.stop()
        for server in SERVERS:
            if "make" in typed and server in typed:
                return self._serve(server, text.partition(" #")[0].rstrip(" &"))
        done = subprocess.run(
            ["bash", "-c", text],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
        )
        expected = 2 if any(line.startswith("error: ") for line in command.shown) else 0
        assert done.returncode == expected, f"exit code {done.returncode}\n{done.stdout}"
        return done.stdout

    def stop(self) -> None:
        """Stop all servers, and what was deployed."""
        while self.servers:
            server = self.servers.pop()
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGTERM)
            server.wait(60)
        for record in self.folder.glob(".millrace/deployments/*/*/run/*.json"):
            processes.stop(record, signal.SIGTERM)

    def _serve(self, server: str, text: str) -> str:
        port, path = self.ports[server], SERVERS[server][1]
        # Two services may share a port, and the one that was not stopped would answer for the new one.
        assert not is_taken(port), f"{text}: something listens on port {port} already"
        log = self.folder / "server.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                ["bash", "-c", f"{text} PORT={port}"],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.servers.append(process)

        def is_ready() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return httpx.get(f"http://127.0.0.1:{port}{path}", follow_redirects=True).is_success
            except httpx.TransportError:
                return False

        wait_for(is_ready, PATIENCE)
        return log.read_text()


def is_shown(line: str, output: str) -> bool:
    """Whether a command printed a line that a page shows.

    Three dots stand for anything, blanks for any blanks, numbers with a decimal point for numbers within a
    twentieth of them.
    """
    pattern, numbers = "", []
    for part in re.findall(r"\.\.\.|\d[\d,]*\.\d+|\s+|.", line.strip()):
        if part == "...":
            pattern += ".*?"
        elif part.isspace():
            pattern += " +"
        elif part[0].isdigit() and "." in part:
            # Four digits of 278.04 are 278.0, of which the point is not printed.
            pattern += r"(\d[\d,]*(?:\.\d+)?)"
            numbers.append(_number(part))
        else:
            pattern += re.escape(part)
    # Lines are folded where the terminal ends, and tables have frames.
    flat = re.sub(r"\s+", " ", output)
    return any(
        all(
            abs(_number(got) - number) <= abs(number) / 20
            for got, number in zip(found.groups(), numbers, strict=True)
        )
        for found in re.finditer(pattern, flat)
    )


def _number(text: str) -> float:
    return float(text.replace(",", ""))
