"""The Dask cluster in containers: what the files start is what the programs take, limited and closed off."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from distributed.cli import dask_scheduler, dask_worker

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
PROGRAMS = {"scheduler": dask_scheduler, "worker": dask_worker}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The compose file's services, as docker-compose reads them."""
    done = subprocess.run(
        ["docker-compose", "-f", DEPLOY / "compose" / "dask.yaml", "config"],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "MILLRACE_RUNNER_IMAGE": "runner:1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    parsed: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    return parsed


@pytest.fixture(scope="module")
def resources() -> list[dict[str, Any]]:
    """The Kubernetes file's resources."""
    return list(yaml.safe_load_all((DEPLOY / "kubernetes" / "dask" / "dask.yaml").read_text()))


def check_command(name: str, command: list[str], arguments: list[str]) -> dict[str, Any]:
    """See that a program takes its arguments; returns what it understood."""
    assert command == [".venv/bin/python", "-m", f"distributed.cli.dask_{name}"]
    context = PROGRAMS[name].main.make_context(name, list(arguments))
    assert context.params["dashboard"] is False
    return dict(context.params)


def check_worker(understood: dict[str, Any], host: str, limit: int) -> None:
    assert understood["scheduler"] == f"tcp://{host}:8786"
    assert understood["nthreads"] == 1
    # Below what the container may have, so that the worker spills or pauses before it is killed.
    assert float(understood["memory_limit"].removesuffix("GB")) * 1e9 < limit


def test_compose_starts_what_is_there(services: dict[str, Any]) -> None:
    assert set(services) == set(PROGRAMS)
    for name, service in services.items():
        understood = check_command(name, service["entrypoint"], service["command"])
        assert service["image"] == "runner:1"
        assert service["mem_limit"]
        assert float(service["cpus"]) == 1
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        if name == "worker":
            check_worker(understood, "scheduler", int(re.sub("g$", "000000000", str(service["mem_limit"]))))
    assert services["scheduler"]["ports"] == ["127.0.0.1:8786:8786/tcp"]
    assert "ports" not in services["worker"]


def test_kubernetes_starts_what_is_there(resources: list[dict[str, Any]]) -> None:
    kinds = [resource["kind"] for resource in resources]
    assert kinds == ["Service", "Deployment", "Deployment", "NetworkPolicy"]
    service, *deployments, policy = resources
    for deployment in deployments:
        pod = deployment["spec"]["template"]
        labels = pod["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        [container] = pod["spec"]["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["resources"]["limits"].keys() == {"cpu", "memory"}
        understood = check_command(container["name"], container["command"], container["args"])
        if container["name"] == "worker":
            limit = int(container["resources"]["limits"]["memory"].removesuffix("Gi")) * 2**30
            check_worker(understood, service["metadata"]["name"], limit)
        else:
            assert service["spec"]["selector"].items() <= labels.items()
            assert understood["port"] == "8786"
