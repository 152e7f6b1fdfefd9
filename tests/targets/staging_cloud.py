"""A staging that Terraform has applied to moto, and this process as one that deploys there."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.cloud.terraform import Terraform
from deploy.cloud.variables import write_variables
from targets.files import load_target_file
from targets.target import Release, Target
from tests.conftest import ROOT
from tests.deploy.clouds import Moto, needs_terraform, prepared, running_moto


class Cloud:
    """Moto with an environment in it."""

    def __init__(self, moto: Moto, terraform: Terraform, where: str, home: Path) -> None:
        self.moto = moto
        self.terraform = terraform
        self.where = where
        self.home = home

    def client(self, service: str) -> Any:
        return self.moto.client(service)

    def groups(self) -> dict[str, str]:
        """The target group of each colour."""
        found = self.client("ecs").describe_services(
            cluster="millrace-staging", services=["iris-blue", "iris-green"]
        )
        groups = {
            each["serviceName"]: each["loadBalancers"][0]["targetGroupArn"] for each in found["services"]
        }
        return {name.removeprefix("iris-"): group for name, group in groups.items()}

    def balancer(self) -> str:
        """The load balancer of both."""
        groups = list(self.groups().values())
        found = self.client("elbv2").describe_target_groups(TargetGroupArns=groups)["TargetGroups"]
        [balancer] = {arn for group in found for arn in group["LoadBalancerArns"]}
        return str(balancer)

    def leads(self) -> dict[int, str]:
        """Which colour each port of the load balancer leads to."""
        colours = {group: colour for colour, group in self.groups().items()}
        found = self.client("elbv2").describe_listeners(LoadBalancerArn=self.balancer())
        return {
            each["Port"]: colours[each["DefaultActions"][0]["TargetGroupArn"]] for each in found["Listeners"]
        }

    def planned_changes(self) -> dict[str, set[str]]:
        """What Terraform would change now: of each resource the arguments."""
        self.terraform.run(self.where, "plan", "-input=false", "-out=plan")
        plan = json.loads(self.terraform.run(self.where, "show", "-json", "plan"))
        changes = {each["address"]: each["change"] for each in plan["resource_changes"]}
        return {
            address: {name for name, value in change["after"].items() if change["before"].get(name) != value}
            for address, change in changes.items()
            if "update" in change["actions"]
        }


@pytest.fixture(scope="session")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Staging, applied; afterwards destroyed, of which nothing may be left."""
    needs_terraform()
    folder = tmp_path_factory.mktemp("cloud")
    with running_moto() as moto:
        terraform = Terraform(folder)
        where = prepared(terraform, "staging", moto)
        terraform.run(where, "apply", "-auto-approve", "-input=false", "-no-color")
        yield Cloud(moto, terraform, where, folder / "home")
        terraform.run(where, "destroy", "-auto-approve", "-input=false", "-no-color")
        assert terraform.run(where, "state", "list") == ""
        assert moto.client("s3").list_buckets()["Buckets"] == []
        assert moto.client("rds").describe_db_instances()["DBInstances"] == []
        assert moto.client("elbv2").describe_load_balancers()["LoadBalancers"] == []


@pytest.fixture
def cloud(applied: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """The same, and this process finds it, with the variables of what Terraform has made."""
    for name, value in {**applied.moto.environment, "MILLRACE_HOME": str(applied.home)}.items():
        monkeypatch.setenv(name, value)
    if not applied.home.exists():
        write_variables("staging", applied.terraform.outputs(applied.where))
    return applied


def load(name: str, problem: str = "iris") -> Target:
    """A target as the command has it: by its file, and the variables that came from Terraform."""
    return load_target_file(name, ROOT / "configs" / "targets").make(problem)


def release(version: str, problem: str = "iris") -> Release:
    """A release with an image of its own."""
    digest = f"{int(version):064x}"
    return Release(
        problem=problem,
        version=version,
        digest=f"sha256:{digest[::-1]}",
        bento=f"{problem}:v{version}",
        image=f"123456789012.dkr.ecr.eu-central-1.amazonaws.com/millrace-staging/{problem}@sha256:{digest}",
    )
