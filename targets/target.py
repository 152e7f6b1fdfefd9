"""What every target can do: start a candidate, give it the traffic, take that back.

The calls come in one order, which `targets.rollout` keeps: `start`, then `discard`; or `start`, `switch`,
then `retire`, or `switch_back` and `discard`. The caller may die between any two of them, so each first looks
at what is there, and `start` begins by ending whatever runs and does not answer.
"""

from typing import NamedTuple, Protocol

from millrace.strict import Strict


class Release(Strict):
    """One version of a model, packed for a target: what is deployed.

    `digest` is the bundle's, as the registry has it; `image` is the container image by a name that cannot
    come to mean another, NAME@sha256:... where a registry keeps it; None where the Bento itself runs.
    """

    problem: str
    version: str
    digest: str
    bento: str
    image: str | None = None


class Traffic(NamedTuple):
    """How many requests a release has had since it got the traffic, and how many of them failed (5xx)."""

    requests: float
    failed: float


class Target(Protocol):
    """A place where one problem's service runs. All calls wait until what they ask for is so.

    All raise UserError, one sentence, for what the user can mend: a missing program, a server that does not
    answer, a candidate that does not become ready (with what its log says).
    """

    runs_images: bool
    """Whether a release needs an image here."""
    registry: str | None
    """Where images are pushed to, so that the target finds them; None where it finds this machine's own."""

    @property
    def url(self) -> str:
        """Where those who use the service find it."""

    def serving(self) -> Release | None:
        """What has the traffic now; None before the first deployment."""

    def start(self, release: Release) -> str:
        """Start a candidate that gets no traffic, wait until it is ready; returns the URL of it alone."""

    def switch(self) -> None:
        """Give the candidate all traffic; the one before goes on running."""

    def traffic(self) -> Traffic:
        """What the one that has the traffic has had since `switch`."""

    def switch_back(self) -> None:
        """Give the traffic to the one before again; to nobody, if there was none."""

    def retire(self) -> None:
        """End the one before, after its last requests."""

    def discard(self) -> None:
        """End whatever runs and has no traffic."""
