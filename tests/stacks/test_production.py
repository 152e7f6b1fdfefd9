"""Production as far as it goes without a cluster: what ZenML makes of the file is what is meant."""

import re
from typing import Any

import pytest
from zenml.config import DockerSettings
from zenml.config.retry_config import StepRetryConfig
from zenml.integrations.kubernetes import kube_utils, manifest_utils
from zenml.integrations.kubernetes.flavors import KubernetesOrchestratorConfig
from zenml.utils.pipeline_docker_image_builder import PipelineDockerImageBuilder

from stacks.stack_files import Stack, load_stack_file
from tests.conftest import ROOT

STACKS = ROOT / "configs" / "stacks"


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> Stack:
    """The shipped stack, with something in every variable."""
    for name in re.findall(r"\$\{(\w+)\}", (STACKS / "production.yaml").read_text()):
        monkeypatch.setenv(name, "https://host.example" if name.endswith(("URL", "ENDPOINT")) else "value")
    return load_stack_file("production", STACKS)


def job_of_a_step(stack: Stack) -> dict[str, Any]:
    """The Kubernetes job that ZenML makes of a step: its pod, resources and retries."""
    from kubernetes.client import ApiClient

    config = KubernetesOrchestratorConfig(**stack.components["orchestrator"].configuration)
    retry = StepRetryConfig(**stack.run_options()["retry"])
    pod = manifest_utils.build_pod_manifest(
        pod_name=None,
        image_name="registry/millrace:1",
        command=["python"],
        args=["-m", "zenml.entrypoints.entrypoint"],
        privileged=config.privileged,
        # The orchestrator asks for this little where the stack says nothing.
        pod_settings=kube_utils.apply_default_resource_requests("400Mi", "100m", config.pod_settings),
    )
    job = manifest_utils.build_job_manifest(
        job_name="fit-best",
        pod_template=manifest_utils.pod_template_manifest_from_pod(pod),
        backoff_limit=retry.max_retries + config.backoff_limit_margin,
    )
    made: dict[str, Any] = ApiClient().sanitize_for_serialization(job)
    return made


def test_a_step_is_a_job_with_resources_retries_and_no_rights_of_root(production: Stack) -> None:
    job = job_of_a_step(production)
    assert job["spec"]["backoffLimit"] == 2
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "2", "memory": "4Gi"},
        "limits": {"memory": "4Gi"},
    }
    context = container["securityContext"]
    assert (context["runAsNonRoot"], context["runAsUser"]) == (True, 1000)
    assert (context["allowPrivilegeEscalation"], context["privileged"]) == (False, False)


def test_the_image_holds_what_is_locked_and_nothing_phones_home(production: Stack) -> None:
    settings = DockerSettings(**production.settings["docker"])
    requirements = str(settings.requirements)
    content = (ROOT / requirements).read_text()
    text = PipelineDockerImageBuilder._generate_zenml_pipeline_dockerfile(
        parent_image=str(settings.parent_image),
        docker_settings=settings,
        requirements_files=[("requirements.txt", content, [])],
        apt_packages=settings.apt_packages,
    )
    lines = text.splitlines()
    assert lines[0] == "FROM python:3.11-slim-bookworm"
    # Without a virtual environment, uv installs only when it is told where.
    [install] = [line for line in lines if line.startswith("RUN uv pip install")]
    assert " --system " in install
    assert [line for line in lines if "apt-get install" in line and "libgomp1" in line]
    assert "ENV MILLRACE_HOME='/tmp/millrace'" in lines
    for name in ("ZENML_ANALYTICS_OPT_IN='false'", "MLFLOW_DISABLE_TELEMETRY='true'"):
        assert f"ENV {name}" in lines
    for package in ("zenml==", "mlflow==", "boto3==", "s3fs=="):
        assert f"\n{package}" in content


def test_a_run_is_told_the_stack_s_settings_and_its_own_come_first(production: Stack) -> None:
    from zenml import pipeline, step

    @step
    def nothing() -> None:
        """Do nothing."""

    @pipeline
    def empty() -> None:
        nothing()

    configured = empty.with_options(settings=production.settings, **production.run_options())
    assert configured.configuration.retry == StepRetryConfig(max_retries=2, delay=10, backoff=2)
    assert "docker" in configured.configuration.settings


def test_the_clients_stack_has_the_same_servers_and_its_steps_here(production: Stack) -> None:
    client = load_stack_file("production-client", STACKS)
    assert client.server == production.server
    assert client.components["orchestrator"].flavor == "local"
    for kind in ("artifact_store", "experiment_tracker"):
        assert client.components[kind] == production.components[kind]
