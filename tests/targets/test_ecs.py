"""Deployment to ECS, on what Terraform has made of moto.

Moto starts no containers: a service that is to run some tasks says at once that they run. So these tests show
what is asked of AWS and in which order; that a container comes up is not among it.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from millrace.errors import UserError
from targets.ecs import Ecs
from targets.target import Traffic
from tests.targets.staging_cloud import Cloud, load, release


@pytest.fixture
def ecs(cloud: Cloud) -> Ecs:
    assert cloud
    target = load("ecs")
    assert isinstance(target, Ecs)
    return target


def _tasks(cloud: Cloud) -> dict[str, int]:
    found = cloud.client("ecs").describe_services(
        cluster="millrace-staging", services=["iris-blue", "iris-green"]
    )
    return {each["serviceName"].rpartition("-")[2]: each["runningCount"] for each in found["services"]}


def test_blue_and_green_take_turns(cloud: Cloud, ecs: Ecs) -> None:
    assert ecs.serving() is None
    assert ecs.url == "https://iris.staging.example.org"
    assert ecs.registry == "123456789012.dkr.ecr.eu-central-1.amazonaws.com/millrace-staging"

    assert ecs.start(release("1")) == "https://iris.staging.example.org:8443"
    assert (_tasks(cloud), cloud.leads()) == ({"blue": 0, "green": 1}, {443: "blue", 8443: "green"})
    assert ecs.serving() is None
    ecs.switch()
    assert cloud.leads() == {443: "green", 8443: "blue"}
    ecs.retire()
    assert ecs.serving() == release("1")

    ecs.start(release("2"))
    assert _tasks(cloud) == {"blue": 1, "green": 1}
    assert ecs.serving() == release("1")
    ecs.switch()
    assert load("ecs").serving() == release("2")
    ecs.retire()
    assert (_tasks(cloud), cloud.leads()) == ({"blue": 1, "green": 0}, {443: "blue", 8443: "green"})


def test_a_task_is_the_template_with_the_releases_image(cloud: Cloud, ecs: Ecs) -> None:
    ecs.start(release("3"))
    client = cloud.client("ecs")
    template = client.describe_task_definition(taskDefinition="millrace-staging-iris-template")
    made = client.describe_task_definition(taskDefinition="millrace-staging-iris")["taskDefinition"]
    [container] = made["containerDefinitions"]
    assert container["image"] == release("3").image
    assert container["readonlyRootFilesystem"] is True
    [as_planned] = template["taskDefinition"]["containerDefinitions"]
    assert {**container, "image": None} == {**as_planned, "image": None}
    for name in ("cpu", "memory", "executionRoleArn", "taskRoleArn", "volumes", "networkMode"):
        assert made[name] == template["taskDefinition"][name]
    assert made["memory"] == "3072"
    ecs.discard()


def test_the_one_before_answers_again(cloud: Cloud, ecs: Ecs) -> None:
    # Of an image that is named no Bento is known.
    four = release("4").model_copy(update={"bento": ""})
    ecs.start(four)
    ecs.switch()
    ecs.retire()
    before = cloud.leads()
    ecs.start(release("5"))
    ecs.switch()
    assert ecs.serving() == release("5")
    ecs.switch_back()
    ecs.discard()
    assert ecs.serving() == four
    assert cloud.leads() == before
    assert sorted(_tasks(cloud).values()) == [0, 1]


def test_a_deployment_that_was_cut_off_is_no_hindrance(cloud: Cloud, ecs: Ecs) -> None:
    ecs.start(release("6"))
    ecs.switch()
    # The command ends here. The next one is another process.
    later = load("ecs")
    assert later.serving() == release("6")
    later.start(release("7"))
    later.switch()
    later.retire()
    assert later.serving() == release("7")
    assert sorted(_tasks(cloud).values()) == [0, 1]


def test_requests_are_counted_from_the_switch_on(cloud: Cloud, ecs: Ecs) -> None:
    ecs.start(release("8"))
    ecs.switch()
    groups, live = cloud.groups(), cloud.leads()[443]
    balancer = cloud.balancer().partition("loadbalancer/")[2]
    now = datetime.now(UTC)

    def told(metric: str, value: float, group: str | None, when: datetime = now) -> dict[str, Any]:
        dimensions = [{"Name": "LoadBalancer", "Value": balancer}]
        if group:
            dimensions.append({"Name": "TargetGroup", "Value": groups[group].rpartition(":")[2]})
        return {"MetricName": metric, "Value": value, "Dimensions": dimensions, "Timestamp": when}

    idle = "green" if live == "blue" else "blue"
    assert ecs.traffic() == Traffic(0, 0)
    cloud.client("cloudwatch").put_metric_data(
        Namespace="AWS/ApplicationELB",
        MetricData=[
            told("RequestCount", 40, live),
            told("RequestCount", 2, live),
            told("RequestCount", 500, live, now - timedelta(hours=1)),
            told("RequestCount", 900, idle),
            told("HTTPCode_Target_5XX_Count", 3, live),
            told("HTTPCode_Target_5XX_Count", 70, idle),
            told("HTTPCode_ELB_5XX_Count", 1, None),
        ],
    )
    assert load("ecs").traffic() == Traffic(42, 4)
    ecs.retire()


def test_what_cannot_be_done_is_said(ecs: Ecs, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="has no service of the problem 'wine'; Terraform makes one"):
        load("ecs", "wine").serving()
    with pytest.raises(UserError, match="runs images, and this release has none"):
        ecs.start(release("12").model_copy(update={"image": None}))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(UserError, match="AWS, ecs describe_services: Could not connect"):
        load("ecs").serving()


def test_a_candidate_that_does_not_come_up(cloud: Cloud, ecs: Ecs, monkeypatch: pytest.MonkeyPatch) -> None:
    """ECS' answer is changed on its way: moto's tasks always come up. Events and log are those of AWS."""
    call = ecs._aws.call
    logs = cloud.client("logs")
    logs.create_log_stream(logGroupName="/millrace-staging/service/iris", logStreamName="service/1")

    def failing(service: str, operation: str, /, **arguments: Any) -> Any:
        answer = call(service, operation, **arguments)
        if operation == "describe_services":
            for each in answer["services"]:
                each["deployments"][0]["rolloutState"] = "FAILED" if each["desiredCount"] else "COMPLETED"
                each["events"] = [{"message": f"(service {each['serviceName']}) tasks failed to start."}]
        return answer

    monkeypatch.setattr(ecs._aws, "call", failing)
    register = ecs._register

    def registering(*arguments: Any) -> Any:
        definition = register(*arguments)
        moment = int((datetime.now(UTC) + timedelta(seconds=1)).timestamp() * 1000)
        events = [{"timestamp": moment, "message": "error: the bundle's digest is another one"}]
        logs.put_log_events(
            logGroupName="/millrace-staging/service/iris", logStreamName="service/1", logEvents=events
        )
        return definition

    monkeypatch.setattr(ecs, "_register", registering)
    with pytest.raises(UserError, match=r"(?s)does not become ready.*failed to start.*digest is another one"):
        ecs.start(release("13"))
