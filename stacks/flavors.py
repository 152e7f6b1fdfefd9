"""ZenML's classes behind the flavors that stack files may name."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from pydantic import BaseModel

from stacks.stack_files import is_reference

CLASSES = {
    ("orchestrator", "local"): "zenml.orchestrators:LocalOrchestratorFlavor",
    ("orchestrator", "kubernetes"): "zenml.integrations.kubernetes.flavors:KubernetesOrchestratorFlavor",
    ("artifact_store", "local"): "zenml.artifact_stores:LocalArtifactStoreFlavor",
    ("artifact_store", "s3"): "zenml.integrations.s3.flavors:S3ArtifactStoreFlavor",
    ("artifact_store", "gcp"): "zenml.integrations.gcp.flavors:GCPArtifactStoreFlavor",
    ("experiment_tracker", "mlflow"): "zenml.integrations.mlflow.flavors:MLFlowExperimentTrackerFlavor",
    ("container_registry", "default"): "zenml.container_registries:DefaultContainerRegistryFlavor",
    ("container_registry", "aws"): "zenml.integrations.aws.flavors:AWSContainerRegistryFlavor",
    ("container_registry", "gcp"): "zenml.container_registries:GCPContainerRegistryFlavor",
    ("container_registry", "azure"): "zenml.container_registries:AzureContainerRegistryFlavor",
    ("container_registry", "dockerhub"): "zenml.container_registries:DockerHubContainerRegistryFlavor",
    ("container_registry", "github"): "zenml.container_registries:GitHubContainerRegistryFlavor",
    ("image_builder", "local"): "zenml.image_builders:LocalImageBuilderFlavor",
}


def config_class(kind: str, flavor: str) -> Any:
    """The class of a component's configuration. Importing it may need what the component requires."""
    module, _, name = CLASSES[kind, flavor].partition(":")
    return getattr(import_module(module), name)().config_class


def normal(kind: str, flavor: str, configuration: dict[str, Any]) -> dict[str, Any]:
    """A configuration as ZenML stores it.

    Raises:
        ValueError: it is not valid; pydantic's ValidationError is one.
    """
    references = {key: value for key, value in configuration.items() if is_reference(value)}
    stored = _parsed(kind, flavor, configuration).model_dump(mode="json", exclude_unset=True)
    return {**stored, **references}


def unknown_keys(kind: str, flavor: str, configuration: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Keys that ZenML would let pass and not heed, each with those that it knows at that place.

    Raises:
        ValueError: the configuration is not valid.
    """
    return list(_unknown(configuration, _parsed(kind, flavor, configuration), ""))


def _parsed(kind: str, flavor: str, configuration: dict[str, Any]) -> Any:
    # ZenML's validators look secrets up; here they need not exist yet.
    plain = {key: "secret" if is_reference(value) else value for key, value in configuration.items()}
    return config_class(kind, flavor)(**plain)


def _unknown(given: dict[str, Any], parsed: BaseModel, path: str) -> Iterator[tuple[str, list[str]]]:
    known = type(parsed).model_fields
    for key, value in given.items():
        if key not in known:
            yield f"{path}{key}", list(known)
        elif isinstance(value, dict) and isinstance(parsed.__dict__[key], BaseModel):
            yield from _unknown(value, parsed.__dict__[key], f"{path}{key}.")
