"""The target `cloud-run`: revisions of one service on Google's Cloud Run, by the program gcloud.

deploy/terraform/modules/cloud_run makes the service. A release is a revision, whose environment says what it
is; a candidate has no traffic and the tag `candidate`, by which it has a URL of its own.
"""

import json
import shutil
import subprocess
from datetime import UTC, datetime
from typing import Any, Literal

from millrace.errors import UserError
from targets.files import TargetSettings
from targets.target import Release, Traffic

CANDIDATE = "candidate"
RELEASE = "MILLRACE_RELEASE"
# Of the newest requests.
COUNTED = 10_000
SAID_LINES = 10


class Settings(TargetSettings):
    """Where the services are; each is named as its problem, with hyphens."""

    kind: Literal["cloud-run"]
    project: str
    region: str
    registry: str

    def make(self, problem: str) -> "CloudRun":
        """The target for the service of a problem."""
        return CloudRun(self, problem)


class CloudRun:
    """A `Target` of one service on Cloud Run."""

    runs_images = True

    def __init__(self, settings: Settings, problem: str) -> None:
        self._settings = settings
        self._service = problem.replace("_", "-")
        self._before: str | None = None
        self._since: datetime | None = None
        self.registry: str | None = settings.registry

    @property
    def url(self) -> str:
        """Where Cloud Run has the service."""
        return str(self._status()["url"])

    def serving(self) -> Release | None:
        """What the revision with the traffic says that it is; Terraform's first one says nothing."""
        live = self._live()
        return self._release(live) if live else None

    def start(self, release: Release) -> str:
        """Make a revision of a release, without traffic; gcloud waits until it is ready."""
        if release.image is None:
            raise UserError("The target 'cloud-run' runs images, and this release has none.")
        self._before = self._live()
        # Another separator than the comma, which JSON has, too.
        told = f"^|^{RELEASE}={release.model_dump_json()}"
        # fmt: off
        self._run(
            "deploy", self._service, "--image", release.image, "--no-traffic", "--tag", CANDIDATE,
            "--update-env-vars", told,
        )
        # fmt: on
        return str(self._candidate()["url"])

    def switch(self) -> None:
        """Give the candidate all traffic."""
        self._lead(self._candidate()["revisionName"])

    def traffic(self) -> Traffic:
        """As the log of requests has it, the newest ten thousand since `switch`."""
        if self._since is None:
            return Traffic(0, 0)
        wanted = (
            'resource.type="cloud_run_revision"',
            f'resource.labels.service_name="{self._service}"',
            f'resource.labels.revision_name="{self._live()}"',
            f'logName="projects/{self._settings.project}/logs/run.googleapis.com%2Frequests"',
            f'timestamp>="{self._since.isoformat()}"',
        )
        found = _gcloud(
            *("logging", "read", " AND ".join(wanted), "--limit", str(COUNTED)),
            *("--project", self._settings.project, "--format", "json(httpRequest.status)"),
        )
        states = [int(entry["httpRequest"]["status"]) for entry in found]
        return Traffic(len(states), sum(state >= 500 for state in states))

    def switch_back(self) -> None:
        """Give the traffic to the revision before again."""
        if self._before is None:
            raise UserError(f"The service '{self._service}' has no revision to go back to.")
        self._lead(self._before)

    def retire(self) -> None:
        """Take its URL from the candidate; a revision that is not asked costs nothing, and stays."""
        self.discard()

    def discard(self) -> None:
        """The same."""
        if any(entry.get("tag") == CANDIDATE for entry in self._status()["traffic"]):
            self._run("services", "update-traffic", self._service, "--remove-tags", CANDIDATE)

    def _lead(self, revision: str) -> None:
        self._since = datetime.now(UTC)
        self._run("services", "update-traffic", self._service, "--to-revisions", f"{revision}=100")

    def _live(self) -> str | None:
        """The revision with all traffic."""
        entries = self._status()["traffic"]
        return next((entry["revisionName"] for entry in entries if entry.get("percent") == 100), None)

    def _candidate(self) -> dict[str, Any]:
        entries = self._status()["traffic"]
        found = next((entry for entry in entries if entry.get("tag") == CANDIDATE), None)
        if found is None:
            raise UserError(f"The service '{self._service}' has no candidate.")
        return dict(found)

    def _release(self, revision: str) -> Release | None:
        container = self._run("revisions", "describe", revision)["spec"]["containers"][0]
        told = {entry["name"]: entry.get("value") for entry in container.get("env", [])}
        return Release.model_validate_json(told[RELEASE]) if told.get(RELEASE) else None

    def _status(self) -> dict[str, Any]:
        return dict(self._run("services", "describe", self._service)["status"])

    def _run(self, *arguments: str) -> Any:
        where = ("--project", self._settings.project, "--region", self._settings.region)
        return _gcloud("run", *arguments, *where, "--format", "json")


def _gcloud(*arguments: str) -> Any:
    """What gcloud answers, read as JSON.

    Raises:
        UserError: it is not here, or failed; with the end of what it said.
    """
    program = shutil.which("gcloud")
    if program is None:
        raise UserError("The target 'cloud-run' needs gcloud, Google's command line.")
    done = subprocess.run([program, *arguments, "--quiet"], capture_output=True, text=True, check=False)
    if done.returncode:
        said = "\n".join(done.stderr.splitlines()[-SAID_LINES:])
        raise UserError(f"gcloud {' '.join(arguments[:3])} failed:\n{said}")
    return json.loads(done.stdout or "null")
