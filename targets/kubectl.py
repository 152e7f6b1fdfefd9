"""kubectl, told each time which cluster and namespace is meant."""

import json
import re
import shutil
import subprocess
import time
from tempfile import TemporaryFile
from typing import Any

from millrace.errors import UserError

# Within which a server has to answer.
REQUEST_SECONDS = 30
FORWARDING = re.compile(r"Forwarding from (127\.0\.0\.1:\d+) ->")


class Kubectl:
    """kubectl in one context and namespace of the user's configuration."""

    def __init__(self, context: str, namespace: str) -> None:
        """Nothing is asked yet.

        Raises:
            UserError: there is no kubectl.
        """
        program = shutil.which("kubectl")
        if program is None:
            raise UserError("This target needs kubectl, which is not on the PATH.")
        self._program = program
        self._where = [f"--context={context}", f"--namespace={namespace}"]

    def render(self, folder: str) -> str:
        """A kustomization's resources as YAML; asks no cluster.

        Raises:
            UserError: it cannot be rendered.
        """
        return self._run([self._program, "kustomize", folder], "kustomize")

    def run(self, action: str, *arguments: str, text: str = "", seconds: float = REQUEST_SECONDS) -> str:
        """What kubectl prints; `text` is its standard input, and it gets `seconds`.

        Raises:
            UserError: what it said when it failed.
        """
        # A watch, as of a rollout, is one long request, and ends by its own --timeout.
        limit = [f"--request-timeout={REQUEST_SECONDS}s"] if seconds == REQUEST_SECONDS else []
        return self._run([self._program, *self._where, *limit, action, *arguments], action, text, seconds)

    def get(self, *arguments: str) -> Any:
        """What `kubectl get` finds, a dict; None where what may be absent is."""
        text = self.run("get", *arguments, "--output=json")
        return json.loads(text) if text else None

    def forward(self, pod_or_service: str, port: str) -> "Forward":
        """A port of a pod, or of the first pod of a service, as one of this machine's loopback.

        Raises:
            UserError: it cannot be had.
        """
        return Forward([self._program, *self._where, "port-forward", pod_or_service, f":{port}"])

    def _run(self, command: list[str], action: str, text: str = "", seconds: float = REQUEST_SECONDS) -> str:
        try:
            # More than it gives itself, so that it says what it waited for.
            done = subprocess.run(
                command, input=text, capture_output=True, text=True, timeout=seconds + 15, check=False
            )
        except subprocess.TimeoutExpired:
            raise UserError(f"kubectl {action}: has not ended within {seconds + 15:.0f} s.") from None
        if done.returncode:
            raise UserError(f"kubectl {action}: {_last_line(done.stderr) or 'failed without a word'}.")
        return done.stdout


class Forward:
    """A port-forward that runs until it is closed. `address` is its end here, HOST:PORT."""

    def __init__(self, command: list[str]) -> None:
        """Wait until it listens.

        Raises:
            UserError: it ended.
        """
        # A file: it says a line for each connection, and a pipe that nobody reads would fill up.
        # Appended to, as who reads it shares its place in it.
        with TemporaryFile("a+") as said:
            self._process = subprocess.Popen(
                [*command, "--address=127.0.0.1"], stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
            while not (found := FORWARDING.search(_text(said))):
                if not self.runs and not FORWARDING.search(_text(said)):
                    raise UserError(f"kubectl port-forward: {_last_line(_text(said))}.")
                time.sleep(0.02)
        self.address = found[1]

    @property
    def runs(self) -> bool:
        """Whether it has not ended: it does when its pod has."""
        return self._process.poll() is None

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()


def _text(file: Any) -> str:
    file.seek(0)
    return str(file.read())


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].removeprefix("error: ").rstrip(".") if lines else ""
