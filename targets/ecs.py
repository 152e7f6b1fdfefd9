"""The target `ecs`: two services of Amazon's ECS, blue and green, behind a load balancer.

deploy/terraform/modules/service makes them, and a template of what a task is. Here it is decided which image
each of them runs and how often, and which of them has the production listener; the other one has the test
listener. What a service runs is written in the tags of its task definition.
"""

import time
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from pydantic import Field

from millrace.errors import UserError
from targets.aws import Aws
from targets.files import TargetSettings
from targets.target import Release, Traffic

Colour = Literal["blue", "green"]
COLOURS: tuple[Colour, ...] = ("blue", "green")
# Of tags.
PREFIX = "millrace-"
SWITCHED = f"{PREFIX}switched"
POLL_SECONDS = 2
LOG_LINES = 10


class Settings(TargetSettings):
    """Which cluster; `{problem}` in a URL is the problem as names in the DNS are written."""

    kind: Literal["ecs"]
    region: str
    cluster: str
    registry: str
    url: str
    candidate_url: str
    tasks: int = Field(ge=1)
    ready_seconds: float = Field(900, gt=0, description="within which a candidate's tasks must be healthy")

    def make(self, problem: str) -> "Ecs":
        """The target for the service of a problem."""
        return Ecs(self, problem)


class _Listeners(NamedTuple):
    """What there is behind and before the load balancer: ARNs, and which colour has the traffic."""

    production: str
    test: str
    groups: dict[Colour, str]
    live: Colour


class Ecs:
    """A `Target` of two services on ECS."""

    runs_images = True

    def __init__(self, settings: Settings, problem: str) -> None:
        host = problem.replace("_", "-")
        self._settings = settings
        self._problem = problem
        self._aws = Aws(settings.region)
        self._family = f"{settings.cluster}-{problem}"
        self._candidate: Colour = "blue"
        self._candidate_url = settings.candidate_url.replace("{problem}", host)
        self.url = settings.url.replace("{problem}", host)
        self.registry: str | None = settings.registry

    def serving(self) -> Release | None:
        """What the service behind the production listener runs."""
        service = self._services()[self._listeners().live]
        if not service["desiredCount"]:
            return None
        tags = self._definition(service["taskDefinition"])["tags"]
        found = {tag["key"].removeprefix(PREFIX): tag["value"] for tag in tags}
        fields = {name: found[name] for name in Release.model_fields if name in found}
        return Release.model_validate(fields) if fields else None

    def start(self, release: Release) -> str:
        """Run a release as the service that has no traffic, on as many tasks as the settings say."""
        if release.image is None:
            raise UserError("The target 'ecs' runs images, and this release has none.")
        listeners = self._listeners()
        self._candidate = _other(listeners.live)
        self._lead(listeners, live=listeners.live)
        definition = self._register(release, release.image)
        since = datetime.now(UTC)
        self._ecs(
            "update_service",
            service=self._name(self._candidate),
            taskDefinition=definition["taskDefinitionArn"],
            desiredCount=self._settings.tasks,
            forceNewDeployment=True,
        )
        self._wait_until_ready(definition, since)
        return self._candidate_url

    def switch(self) -> None:
        """Give the candidate the production listener, and the other one the test listener."""
        service = self._services()[self._candidate]
        now = datetime.now(UTC).isoformat()
        self._aws.call(
            "ecs",
            "tag_resource",
            resourceArn=service["taskDefinition"],
            tags=[{"key": SWITCHED, "value": now}],
        )
        self._lead(self._listeners(), live=self._candidate)

    def traffic(self) -> Traffic:
        """As CloudWatch counts it; with the 5xx of the load balancer itself, for want of a task."""
        listeners = self._listeners()
        definition = self._definition(self._services()[listeners.live]["taskDefinition"])
        switched = next((tag["value"] for tag in definition["tags"] if tag["key"] == SWITCHED), None)
        if switched is None:
            return Traffic(0, 0)
        since = datetime.fromisoformat(switched)
        balancer = {"LoadBalancer": listeners.production.partition(":listener/")[2].rpartition("/")[0]}
        group = {**balancer, "TargetGroup": listeners.groups[listeners.live].rpartition(":")[2]}
        namespace = "AWS/ApplicationELB"
        requests = self._aws.total(namespace, "RequestCount", group, since)
        failed = self._aws.total(namespace, "HTTPCode_Target_5XX_Count", group, since)
        unanswered = self._aws.total(namespace, "HTTPCode_ELB_5XX_Count", balancer, since)
        return Traffic(max(requests, failed + unanswered), failed + unanswered)

    def switch_back(self) -> None:
        """Give the service before the production listener again."""
        self._lead(self._listeners(), live=_other(self._candidate))

    def retire(self) -> None:
        """End the tasks of the service before, once the load balancer has let go of them."""
        self.discard()

    def discard(self) -> None:
        """End the tasks of the service that has the test listener."""
        idle = _other(self._listeners().live)
        self._ecs("update_service", service=self._name(idle), desiredCount=0)
        deadline = time.monotonic() + self._settings.ready_seconds
        while self._services()[idle]["runningCount"]:
            if time.monotonic() > deadline:
                raise UserError(f"The tasks of {self._name(idle)} do not end.")
            time.sleep(POLL_SECONDS)

    def _lead(self, listeners: _Listeners, live: Colour) -> None:
        """Lead the production listener to a service, the test listener to the other one.

        So both have a listener at any time, by which the load balancer knows whether they are healthy.
        """
        for listener, colour in ((listeners.production, live), (listeners.test, _other(live))):
            self._aws.call(
                "elbv2",
                "modify_listener",
                ListenerArn=listener,
                DefaultActions=[{"Type": "forward", "TargetGroupArn": listeners.groups[colour]}],
            )

    def _listeners(self) -> _Listeners:
        services = self._services()
        groups: dict[Colour, str] = {
            colour: service["loadBalancers"][0]["targetGroupArn"] for colour, service in services.items()
        }
        found = self._aws.call("elbv2", "describe_target_groups", TargetGroupArns=list(groups.values()))
        balancer = next(arn for group in found["TargetGroups"] for arn in group["LoadBalancerArns"])
        found = self._aws.call("elbv2", "describe_listeners", LoadBalancerArn=balancer)
        listeners = {listener["ListenerArn"]: listener for listener in found["Listeners"]}
        tagged = self._aws.call("elbv2", "describe_tags", ResourceArns=list(listeners))["TagDescriptions"]
        tags = [(tag, each["ResourceArn"]) for each in tagged for tag in each["Tags"]]
        by_traffic = {tag["Value"]: arn for tag, arn in tags if tag["Key"] == "traffic"}
        production = by_traffic["production"]
        leads_to = listeners[production]["DefaultActions"][0]["TargetGroupArn"]
        live: Colour = "green" if leads_to == groups["green"] else "blue"
        return _Listeners(production, by_traffic["test"], groups, live)

    def _services(self) -> dict[Colour, dict[str, Any]]:
        names = [self._name(colour) for colour in COLOURS]
        found = self._ecs("describe_services", services=names)["services"]
        by_name = {service["serviceName"]: service for service in found if service["status"] == "ACTIVE"}
        if set(by_name) != set(names):
            raise UserError(
                f"The cluster '{self._settings.cluster}' has no service of the problem '{self._problem}'; "
                "Terraform makes one of each in `services` (docs/terraform.md)."
            )
        return {colour: by_name[self._name(colour)] for colour in COLOURS}

    def _definition(self, name: str) -> dict[str, Any]:
        """A task definition, with its tags."""
        found = self._aws.call("ecs", "describe_task_definition", taskDefinition=name, include=["TAGS"])
        return {**found["taskDefinition"], "tags": found.get("tags", [])}

    def _register(self, release: Release, image: str) -> dict[str, Any]:
        """Make a task definition of Terraform's template, with the image and the tags of a release."""
        template = self._definition(f"{self._family}-template")
        containers = [{**container, "image": image} for container in template["containerDefinitions"]]
        kept = (
            *("requiresCompatibilities", "networkMode", "cpu", "memory"),
            *("executionRoleArn", "taskRoleArn", "volumes"),
        )
        told = release.model_dump(exclude_none=True)
        registered = self._aws.call(
            "ecs",
            "register_task_definition",
            family=self._family,
            containerDefinitions=containers,
            tags=[{"key": f"{PREFIX}{name}", "value": value} for name, value in told.items()],
            **{name: template[name] for name in kept},
        )
        definition: dict[str, Any] = registered["taskDefinition"]
        return definition

    def _wait_until_ready(self, definition: dict[str, Any], since: datetime) -> None:
        """Wait until the candidate's tasks run, no others, and its load balancer calls them healthy.

        Raises:
            UserError: ECS gave up, or they are not in time; with what ECS and the tasks' log say.
        """
        deadline = time.monotonic() + self._settings.ready_seconds
        while True:
            service = self._services()[self._candidate]
            states = [deployment.get("rolloutState") for deployment in service["deployments"]]
            if states == ["COMPLETED"] and service["runningCount"] == service["desiredCount"]:
                return
            if "FAILED" in states or time.monotonic() > deadline:
                events = [event["message"] for event in reversed(service.get("events", [])[:3])]
                said = "\n".join([*events, *self._log(definition, since)])
                raise UserError(f"The candidate does not become ready. ECS and its log say:\n{said}")
            time.sleep(POLL_SECONDS)

    def _log(self, definition: dict[str, Any], since: datetime) -> list[str]:
        """The last lines that tasks have said since then."""
        group = definition["containerDefinitions"][0]["logConfiguration"]["options"]["awslogs-group"]
        start = int(since.timestamp() * 1000)
        events = self._aws.call("logs", "filter_log_events", logGroupName=group, startTime=start)["events"]
        return [event["message"].rstrip() for event in events[-LOG_LINES:]]

    def _ecs(self, operation: str, **arguments: Any) -> Any:
        return self._aws.call("ecs", operation, cluster=self._settings.cluster, **arguments)

    def _name(self, colour: Colour) -> str:
        return f"{self._problem}-{colour}"


def _other(colour: Colour) -> Colour:
    return "green" if colour == "blue" else "blue"
