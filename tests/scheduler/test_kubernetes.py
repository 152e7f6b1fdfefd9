"""The schedules as CronJobs: what is committed is what the file says, and what Kubernetes' API takes."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from kubernetes.client import ApiClient

from commands import PIPELINES
from commands.options import make_parser
from millrace.errors import UserError
from scheduler.kubernetes import manifests
from scheduler.settings import FILE, Schedule, Schedules, read_schedules
from tests.conftest import ROOT

COMMITTED = ROOT / "deploy" / "kubernetes" / "schedules" / "schedules.yaml"


def made(**schedule: Any) -> dict[str, Any]:
    """The CronJob of one schedule."""
    told = {"cron": "0 3 * * sun", "pipeline": "retraining", "problem": "iris", **schedule}
    one = Schedules(time_zone="Europe/Vienna", schedules={"one": Schedule.model_validate(told)})
    [resource] = yaml.safe_load_all(manifests(one, "production"))
    return dict(resource)


def container(resource: dict[str, Any]) -> dict[str, Any]:
    [found] = resource["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_what_is_committed_is_what_the_file_says() -> None:
    text = manifests(read_schedules(FILE), "production")
    assert COMMITTED.read_text() == text, (
        "run: python -m scheduler kubernetes > deploy/kubernetes/schedules/schedules.yaml"
    )
    names = [resource["metadata"]["name"] for resource in yaml.safe_load_all(text)]
    assert names == ["millrace-weekly-retraining", "millrace-hourly-monitoring"]


def test_kubernetes_api_knows_every_field() -> None:
    for resource in yaml.safe_load_all(COMMITTED.read_text()):
        for rule in resource["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]:
            # This version of the client insists on it, the API does not.
            rule.setdefault("onPodConditions", [])
        read = ApiClient().deserialize(SimpleNamespace(data=json.dumps(resource)), "V1CronJob")
        assert ApiClient().sanitize_for_serialization(read) == resource


def test_run_py_takes_the_arguments_and_knows_its_cause() -> None:
    arguments = container(made())["args"]
    understood = make_parser(PIPELINES).parse_args(arguments)
    assert (understood.pipeline, understood.problem, understood.stack) == ("retraining", "iris", "production")
    assert (understood.trigger, understood.reason) == ("calendar", "one")
    assert understood.cause == "$(MILLRACE_JOB)"


def test_the_moment_is_that_of_the_file_s_zone() -> None:
    spec = made(cron="0 3 * * fri-sun,mon")["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("0 3 * * fri,sat,sun,mon", "Europe/Vienna")
    assert spec["concurrencyPolicy"] == "Forbid"


def test_what_can_be_mended_is_not_tried_again() -> None:
    job = made()["spec"]["jobTemplate"]["spec"]
    assert job["backoffLimit"] == 1
    [rule] = [rule for rule in job["podFailurePolicy"]["rules"] if rule["action"] == "FailJob"]
    assert rule["onExitCodes"]["values"] == [2, 3]
    # Without it the policy is not allowed.
    assert job["template"]["spec"]["restartPolicy"] == "Never"


def test_each_night_has_an_output_of_its_own() -> None:
    inputs = {"pipeline": "inference", "input": "s3://b/rows", "output": "s3://b/scores-{date}"}
    assert "--output=s3://b/scores-$(MILLRACE_JOB)" in container(made(**inputs))["args"]


def test_no_secret_and_no_right_of_root() -> None:
    for resource in yaml.safe_load_all(COMMITTED.read_text()):
        assert [one["name"] for one in container(resource)["env"] if "value" in one] == ["KUBECONFIG"]
        assert container(resource)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


@pytest.mark.parametrize("stack", ["local", "staging"])
def test_other_stacks_are_the_scheduler_s(stack: str) -> None:
    with pytest.raises(UserError, match="`make scheduler` is for it"):
        manifests(read_schedules(FILE), stack)
