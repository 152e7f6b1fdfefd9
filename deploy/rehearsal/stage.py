"""What a rehearsal runs on: a home of its own with a trained champion, and all servers on loopback."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from deploy.staging import monitoring
from deploy.staging.server import Server
from deploy.staging.settings import draw_ports
from millrace import processes
from millrace.errors import UserError
from stacks.environment import ROOT

PROBLEM = "housing_sample"
NAMES = ("service", "scheduler", "alertmanager", "prometheus")
# Of the made-up table whose rows are asked for: a fifth of them, those that are held out.
ROWS, SEED = 500_000, 7
# How often Prometheus looks; in use it is every 15 seconds.
INTERVAL = "1s"
# Monitoring looks every minute. Only what is as recent is learnt from: before it, the world was another one.
SCHEDULES: dict[str, Any] = {
    "alerts": {"set": ["rows=window", "window=1m"]},
    "schedules": {
        "monitoring": {
            "cron": "* * * * *",
            "pipeline": "monitoring",
            "problem": PROBLEM,
            "since": "1m",
            "set": ["report_rows=0"],
        }
    },
}


class Stage:
    """The servers of a rehearsal and its commands, all with `folder` as their home."""

    def __init__(self, folder: Path) -> None:
        """Take the place of what an earlier rehearsal has left in `folder`, which may still run."""
        self.folder = folder
        self.ports = draw_ports(dict.fromkeys(NAMES, 0))
        self._schedules = folder / "schedules.yaml"
        for server in self.servers():
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "logs").mkdir(parents=True)

    def url(self, name: str) -> str:
        """The address of a server."""
        return f"http://127.0.0.1:{self.ports[name]}"

    def run(self, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start run.py; what it says goes to a log of this name."""
        with (self.folder / "logs" / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "run.py", *arguments],
                cwd=ROOT,
                env={**processes.clean_environment(), **self._environment()},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def train(self) -> None:
        """Make the first champion.

        Raises:
            UserError: that has failed.
        """
        if self.run("training", "--pipeline", "training", "--problem", PROBLEM).wait():
            raise UserError(f"The training has failed: {self.folder}/logs/training.log says why.")

    def make_rows(self) -> Path:
        """Rows that nobody has learnt from, more than are asked for: no model meets again what it knows."""
        from pyarrow.parquet import write_table

        from millrace.sample import housing_sample

        path = self.folder / "rows.parquet"
        write_table(housing_sample(ROWS, SEED), path)
        return path

    @contextmanager
    def running(self) -> Iterator[None]:
        """All servers up; down again at the end, whatever happens."""
        self._schedules.write_text(yaml.safe_dump(SCHEDULES))
        servers = self.servers()
        try:
            for server in servers:
                server.start()
            yield
        finally:
            for server in reversed(servers):
                server.stop()

    def servers(self) -> list[Server]:
        """The service, the scheduler, Alertmanager and Prometheus."""
        python = sys.executable
        bentoml = str(Path(python).with_name("bentoml"))
        service, scheduler = (f"127.0.0.1:{self.ports[name]}" for name in ("service", "scheduler"))
        return [
            self._server("service", "/readyz", bentoml, "serve", f"{PROBLEM}:latest", "--host", "127.0.0.1",
                         "--port", str(self.ports["service"])),
            self._server("scheduler", "/livez", python, "-m", "scheduler", "start", "--port",
                         str(self.ports["scheduler"]), "--schedules", str(self._schedules)),
            monitoring.alertmanager(self, self.folder, scheduler),
            monitoring.prometheus(self, service, scheduler, INTERVAL),
        ]  # fmt: skip

    def _server(self, name: str, path: str, *command: str) -> Server:
        def answers() -> bool:
            import requests

            return requests.get(f"{self.url(name)}{path}", timeout=5).ok

        return Server(
            name=name,
            folder=self.folder,
            command=command,
            address=self.url(name),
            answers=answers,
            environment=self._environment,
        )

    def _environment(self) -> dict[str, str]:
        return {
            "MILLRACE_HOME": str(self.folder),
            "BENTOML_HOME": str(self.folder / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "True",
            "OMP_WAIT_POLICY": "PASSIVE",
            "PYTHONPATH": str(ROOT),
            # Two are for more traffic than this.
            "MILLRACE_SERVE_WORKERS": "1",
            "MILLRACE_SERVE_WATCH_SECONDS": "1",
        }
