"""The target `lambda`: versions of one function on AWS Lambda, and two aliases: `live` and `candidate`.

deploy/terraform/modules/function makes function and aliases, each alias with a URL of its own. A release is a
published version, which says in its description what it is.
"""

import time
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

import httpx
from pydantic import Field, ValidationError

from millrace.errors import UserError
from targets.aws import MINUTE, Aws
from targets.files import TargetSettings
from targets.target import Release, Traffic

LIVE = "live"
CANDIDATE = "candidate"
POLL_SECONDS = 1


class Settings(TargetSettings):
    """Where the functions are: `name`-PROBLEM."""

    variant: ClassVar[str | None] = "lambda"

    kind: Literal["lambda"]
    region: str
    name: str
    registry: str
    ready_seconds: float = Field(180, gt=0, description="within which a candidate must answer")

    def make(self, problem: str) -> "Function":
        """The target for the service of a problem."""
        return Function(self, problem)


class Function:
    """A `Target` of one function."""

    runs_images = True

    def __init__(self, settings: Settings, problem: str) -> None:
        self._settings = settings
        self._aws = Aws(settings.region)
        self._function = f"{settings.name}-{problem}"
        self._before: str | None = None
        self._since: datetime | None = None
        self.registry: str | None = settings.registry

    @property
    def url(self) -> str:
        """The URL of the alias `live`."""
        return self._url(LIVE)

    def serving(self) -> Release | None:
        """What the version behind `live` says that it is; Terraform's first one says nothing."""
        found = self._call("get_function", Qualifier=LIVE)
        try:
            release = Release.model_validate_json(found["Configuration"]["Description"])
        except ValidationError:
            return None
        return release.model_copy(update={"image": found["Code"]["ImageUri"]})

    def start(self, release: Release) -> str:
        """Publish a version with the release's image, and let `candidate` be it."""
        if release.image is None:
            raise UserError("The target 'lambda' runs images, and this release has none.")
        self._before = self._version(LIVE)
        self._call("update_function_code", ImageUri=release.image)
        self._wait_until_known()
        # All but the image, which the version has anyhow: a description has 256 characters.
        description = release.model_dump_json(exclude={"image"})
        version = self._call("publish_version", Description=description)["Version"]
        self._wait_until_known(Qualifier=version)
        self._call("update_alias", Name=CANDIDATE, FunctionVersion=version)
        url = self._url(CANDIDATE)
        self._wait_until_ready(url)
        return url

    def switch(self) -> None:
        """Let `live` be the version that `candidate` is."""
        self._lead(self._version(CANDIDATE))

    def traffic(self) -> Traffic:
        """As CloudWatch counts the requests of the URL of `live`, from the first whole minute on.

        In the minute of the switch it cannot tell the versions apart.
        """
        if self._since is None:
            return Traffic(0, 0)
        since = self._since + MINUTE
        live = {"FunctionName": self._function, "Resource": f"{self._function}:{LIVE}"}
        requests = self._aws.total("AWS/Lambda", "UrlRequestCount", live, since)
        return Traffic(requests, self._aws.total("AWS/Lambda", "Url5xxCount", live, since))

    def switch_back(self) -> None:
        """Let `live` be the version that it was."""
        if self._before is None:
            raise UserError(f"{self._function} has no version to go back to.")
        self._lead(self._before)

    def retire(self) -> None:
        """Let `candidate` be what `live` is; a version that is not asked costs nothing, and stays."""
        self.discard()

    def discard(self) -> None:
        """The same."""
        self._call("update_alias", Name=CANDIDATE, FunctionVersion=self._version(LIVE))

    def _lead(self, version: str) -> None:
        self._call("update_alias", Name=LIVE, FunctionVersion=version)
        self._since = datetime.now(UTC)

    def _version(self, alias: str) -> str:
        return str(self._call("get_alias", Name=alias)["FunctionVersion"])

    def _url(self, alias: str) -> str:
        return str(self._call("get_function_url_config", Qualifier=alias)["FunctionUrl"]).rstrip("/")

    def _wait_until_known(self, **qualifier: str) -> None:
        """Wait until Lambda has taken in the image of the function, or of one of its versions.

        Raises:
            UserError: it cannot, or does not in time.
        """
        deadline = time.monotonic() + self._settings.ready_seconds
        while True:
            found = self._call("get_function_configuration", **qualifier)
            states = {found.get("State", "Active"), found.get("LastUpdateStatus", "Successful")}
            if states <= {"Active", "Inactive", "Successful"}:
                return
            if "Failed" in states or time.monotonic() > deadline:
                why = found.get("LastUpdateStatusReason") or found.get("StateReason") or "it takes too long"
                raise UserError(f"{self._function}: Lambda does not take the image: {why}")
            time.sleep(POLL_SECONDS)

    def _wait_until_ready(self, url: str) -> None:
        """Ask a URL until the service behind it is ready; the first time Lambda loads the image.

        Raises:
            UserError: it is not in time, with its last answer.
        """
        deadline = time.monotonic() + self._settings.ready_seconds
        while True:
            try:
                answer = httpx.get(f"{url}/readyz", timeout=30, trust_env=False)
                said = f"{answer.status_code} {answer.text[:200]}"
                if answer.status_code == 200:
                    return
            except httpx.HTTPError as error:
                said = type(error).__name__
            if time.monotonic() > deadline:
                raise UserError(f"The candidate does not become ready; at last {url}/readyz said: {said}")
            time.sleep(POLL_SECONDS)

    def _call(self, operation: str, **arguments: Any) -> Any:
        return self._aws.call("lambda", operation, FunctionName=self._function, **arguments)
