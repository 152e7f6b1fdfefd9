"""A service on a Kubernetes cluster: two Deployments, blue and green, and a Service that names one of them.

`deploy/kubernetes` has what stays; the pods are rendered from `release` there, then applied with the image
and, as an annotation, the Release. Nothing is kept here: what serves is what the Service's selector names.

Candidates and metrics are reached by port-forward. It goes through the node and into the pod, where no
NetworkPolicy is asked; through the API server's proxy a closed service could not be reached.
"""

import atexit
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

import httpx
import yaml
from prometheus_client.parser import text_string_to_metric_families
from pydantic import Field

from millrace.errors import UserError
from stacks.environment import ROOT
from targets.files import TargetSettings
from targets.kubectl import Forward, Kubectl
from targets.target import Release, Target, Traffic

COLOUR, RELEASE = "millrace.dev/colour", "millrace.dev/release"
COLOURS = ("blue", "green")
# The container's name in the pods, and that of its port.
CONTAINER, PORT = "service", "http"
# Requests for predictions and what belongs to them: not those of probes, nor Prometheus' own.
ROUTES = "/v1/"


class Settings(TargetSettings):
    """configs/targets/kubernetes.yaml."""

    kind: Literal["kubernetes"]
    context: str = Field(description="of the kubeconfig")
    namespace: str = Field(description="of one problem's service")
    url: str = Field(description="where those who use the service find it")
    registry: str | None = Field(None, description="what the cluster's nodes pull from")
    release: str = Field(description="the folder that kustomize renders the pods from")
    service: str = Field("millrace-service", description="the Service, and what Deployments begin with")
    replicas: int = Field(2, ge=1, description="pods of the first release; later, as many as there were")
    ready_seconds: int = Field(300, ge=1, description="within which a candidate has to be ready")
    end_seconds: int = Field(120, ge=1, description="within which pods have to end")

    def make(self, problem: str) -> Target:
        """The target for the service of a problem."""
        return Kubernetes(self, problem)


class Kubernetes:
    """See `targets.target.Target`."""

    runs_images = True

    def __init__(self, settings: Settings, problem: str) -> None:
        """Nothing is asked yet.

        Raises:
            UserError: there is no kubectl.
        """
        self.registry = settings.registry
        self.url = settings.url
        self._settings = settings
        self._problem = problem
        self._kubectl = Kubectl(settings.context, settings.namespace)
        self._forwards: dict[str, Forward] = {}
        self._counted: dict[str, Traffic] = {}
        self._baseline: dict[str, Traffic] = {}
        self._candidate, self._before = COLOURS
        atexit.register(self._close)

    def serving(self) -> Release | None:
        """What the Service's selector names, if it has pods."""
        colour = self._colour()
        deployment = self._deployment(colour) if colour else None
        if not deployment or not deployment["spec"]["replicas"]:
            return None
        told = deployment["metadata"].get("annotations", {}).get(RELEASE)
        if told is None:
            name = deployment["metadata"]["name"]
            raise UserError(f"{name} was not started by a deployment: it has no annotation {RELEASE}.")
        release = Release.model_validate_json(told)
        if release.problem != self._problem:
            raise UserError(
                f"The namespace '{self._settings.namespace}' serves '{release.problem}'; give "
                f"'{self._problem}' a target with a namespace of its own."
            )
        return release

    def start(self, release: Release) -> str:
        """Apply the idle colour's Deployment with the release's image; returns a URL on this machine."""
        if "@sha256:" not in (release.image or ""):
            raise UserError(f"A cluster is told images by digest, NAME@sha256:..., not '{release.image}'.")
        now = self.serving()
        colour = self._colour()
        if colour is None:
            # The other has no pods: without a colour the Service would send requests to a first candidate.
            colour = COLOURS[1]
            self._select(colour)
        self.discard()
        self._candidate, self._before = _other(colour), colour
        served = self._deployment(colour) if now else None
        replicas = served["spec"]["replicas"] if served else self._settings.replicas
        self._apply(release, replicas)
        self._await_ready()
        return f"http://{self._forward(f'service/{self._name(self._candidate)}')}"

    def switch(self) -> None:
        """Let the Service's selector name the candidate's colour."""
        self._counted = {}
        self._baseline = self._count(self._candidate)
        self._select(self._candidate)

    def traffic(self) -> Traffic:
        """Sums of all pods of the colour; what a pod that has ended had counted is still in them.

        What never reached a pod, so what the ingress answered itself, is not.
        """
        counts = self._count(self._candidate)
        parts = [(count, self._baseline.get(pod, Traffic(0, 0))) for pod, count in counts.items()]
        return Traffic(
            sum(count.requests - before.requests for count, before in parts),
            sum(count.failed - before.failed for count, before in parts),
        )

    def switch_back(self) -> None:
        """Let the selector name the other colour again, which has no pods if nothing served."""
        self._select(self._before)

    def retire(self) -> None:
        """Scale the colour without traffic to zero; its pods answer what they have, and end."""
        self.discard()

    def discard(self) -> None:
        """The same."""
        self._close()
        serving = self._colour()
        for colour in COLOURS:
            if colour != serving and self._deployment(colour):
                self._end(colour)

    def _end(self, colour: str) -> None:
        name = self._name(colour)
        self._patch("deployment", name, {"replicas": 0})
        self._wait(lambda: not self._pods(colour), f"The pods of {name} have not ended")

    def _colour(self) -> str | None:
        service = self._kubectl.get("service", self._settings.service)
        return service["spec"]["selector"].get(COLOUR)  # type: ignore[no-any-return]

    def _name(self, colour: str) -> str:
        return f"{self._settings.service}-{colour}"

    def _deployment(self, colour: str) -> Any:
        return self._kubectl.get("deployment", self._name(colour), "--ignore-not-found")

    def _pods(self, colour: str) -> list[Any]:
        """A colour's pods, those that are ending, too."""
        selector = f"app.kubernetes.io/name={self._settings.service},{COLOUR}={colour}"
        return self._kubectl.get("pods", f"--selector={selector}")["items"]  # type: ignore[no-any-return]

    def _patch(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        self._kubectl.run("patch", kind, name, "--type=merge", f"--patch={yaml.safe_dump({'spec': spec})}")

    def _apply(self, release: Release, replicas: int) -> None:
        rendered = yaml.safe_load_all(self._kubectl.render(str(ROOT / self._settings.release)))
        [deployment] = [one for one in rendered if one["metadata"]["name"] == self._name(self._candidate)]
        told = {RELEASE: release.model_dump_json()}
        template = deployment["spec"]["template"]
        deployment["metadata"].setdefault("annotations", {}).update(told)
        template["metadata"].setdefault("annotations", {}).update(told)
        deployment["spec"]["replicas"] = replicas
        [container] = [one for one in template["spec"]["containers"] if one["name"] == CONTAINER]
        container["image"] = release.image
        # By force: the number of pods was autoscaling's.
        self._kubectl.run(
            "apply", "--server-side", "--force-conflicts", "--field-manager=millrace", "--filename=-",
            text=yaml.safe_dump(deployment),
        )  # fmt: skip

    def _await_ready(self) -> None:
        seconds = self._settings.ready_seconds
        name = f"deployment/{self._name(self._candidate)}"
        try:
            self._kubectl.run("rollout", "status", name, f"--timeout={seconds}s", seconds=seconds)
        except UserError as error:
            why = [reason for pod in self._pods(self._candidate) for reason in _reasons(pod)]
            said = self._said(name)
            raise UserError(
                f"The candidate does not become ready. {'; '.join([*why, said or str(error)])}"
            ) from None

    def _said(self, name: str) -> str:
        try:
            return self._kubectl.run("logs", name, "--tail=15").strip()
        except UserError:
            # A container that never started has no log.
            return ""

    def _select(self, colour: str) -> None:
        """Let the Service name a colour, and wait until its pods are the Service's endpoints."""
        self._patch("service", self._settings.service, {"selector": {COLOUR: colour}})
        self._wait(
            lambda: self._endpoints() == {_address(pod) for pod in self._pods(colour) if _is_ready(pod)},
            f"The pods of {self._name(colour)} have not become the endpoints of {self._settings.service}",
        )

    def _endpoints(self) -> set[str]:
        selector = f"--selector=kubernetes.io/service-name={self._settings.service}"
        slices = self._kubectl.get("endpointslices", selector)["items"]
        return {
            address
            for one in slices
            for endpoint in one["endpoints"] or ()
            if endpoint["conditions"]["ready"]
            for address in endpoint["addresses"]
        }

    def _wait(self, happens: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + self._settings.end_seconds
        while not happens():
            if time.monotonic() > deadline:
                raise UserError(f"{otherwise} within {self._settings.end_seconds} s.")
            time.sleep(0.5)

    def _count(self, colour: str) -> dict[str, Traffic]:
        """What each pod has counted since it was started; of one that does not answer, what it last said."""
        for pod in self._pods(colour):
            name = pod["metadata"]["name"]
            if _is_ready(pod):
                # It may have ended meanwhile.
                with suppress(httpx.TransportError):
                    self._counted[name] = self._metrics(name)
        return dict(self._counted)

    def _metrics(self, pod: str) -> Traffic:
        key = self._settings.api_key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        url = f"http://{self._forward(f'pod/{pod}')}/metrics"
        answer = httpx.get(url, timeout=10, headers=headers, trust_env=False)
        if answer.is_error:
            raise UserError(
                f"{pod}: its metrics cannot be had ({answer.status_code}); may the api_key see them?"
            )
        return _counts(answer.text)

    def _forward(self, pod_or_service: str) -> str:
        known = self._forwards.get(pod_or_service)
        if known is None or not known.runs:
            known = self._forwards[pod_or_service] = self._kubectl.forward(pod_or_service, PORT)
        return known.address

    def _close(self) -> None:
        for forward in self._forwards.values():
            forward.close()
        self._forwards = {}


def _other(colour: str) -> str:
    return COLOURS[1] if colour == COLOURS[0] else COLOURS[0]


def _address(pod: Any) -> str:
    return str(pod["status"].get("podIP"))


def _is_ready(pod: Any) -> bool:
    """Whether it gets requests; one that is ending does not."""
    conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions", ())}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def _reasons(pod: Any) -> list[str]:
    """Why its containers wait, such as for an image that cannot be had."""
    states = [one["state"].get("waiting", {}) for one in pod["status"].get("containerStatuses", ())]
    name = pod["metadata"]["name"]
    return [
        f"{name}: {one['reason']} {one.get('message', '')}".strip() for one in states if one.get("reason")
    ]


def _counts(metrics: str) -> Traffic:
    """Requests and failures in what `millrace.service_metrics` shows."""
    requests = failed = 0.0
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            if sample.name == "millrace_request_seconds_count" and sample.labels["route"].startswith(ROUTES):
                requests += sample.value
                failed += sample.value if sample.labels["status"].startswith("5") else 0
    return Traffic(requests, failed)
