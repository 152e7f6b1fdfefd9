"""ZenML's Model Control Plane, kept in agreement with the registry's aliases.

MLflow's aliases are written first and are the truth; this copies them. It runs at every promotion
step, so a crash between the two writes is mended by the next run.
"""

from contextlib import suppress
from uuid import UUID

from zenml.client import Client
from zenml.enums import ModelStages
from zenml.exceptions import EntityExistsError
from zenml.models import ModelVersionArtifactRequest, ModelVersionPipelineRunRequest

from millrace.registry import CHALLENGER, CHAMPION, Registry

STAGES = {CHAMPION: ModelStages.PRODUCTION, CHALLENGER: ModelStages.STAGING}


def link_version(name: str, version: str, digest: str, bundle_artifact: UUID, run: UUID | None) -> None:
    """Make sure that ZenML has a model version for a registry version, linked to its bundle and its run."""
    client = Client()
    with suppress(EntityExistsError):
        client.create_model(name)
    with suppress(EntityExistsError):
        client.create_model_version(name, name=zenml_version(version), description=f"bundle {digest}")
    linked = client.get_model_version(name, zenml_version(version)).id
    client.zen_store.create_model_version_artifact_link(
        ModelVersionArtifactRequest(model_version=linked, artifact_version=bundle_artifact)
    )
    if run is not None:
        client.zen_store.create_model_version_pipeline_run_link(
            ModelVersionPipelineRunRequest(model_version=linked, pipeline_run=run)
        )


def zenml_version(version: str) -> str:
    """ZenML's name for a registry version; it keeps bare numbers for itself."""
    return f"v{version}"


def agree_with_registry(registry: Registry) -> None:
    """Give every ZenML model version of a problem the stage that the registry's aliases say."""
    client = Client()
    wanted = {}
    for alias, stage in STAGES.items():
        aliased = registry.with_alias(alias)
        if aliased is not None:
            wanted[zenml_version(aliased.version)] = stage
    versions = client.list_model_versions(model=registry.name, size=1000).items
    # First those that lose a stage: setting a stage archives who held it. By force: ZenML counts the
    # archived ones, too.
    for version in versions:
        held = version.stage in (ModelStages.PRODUCTION.value, ModelStages.STAGING.value)
        if version.name not in wanted and held:
            client.update_model_version(registry.name, version.id, stage=ModelStages.ARCHIVED, force=True)
    for version in versions:
        stage = wanted.get(version.name)
        if stage is not None and version.stage != stage.value:
            client.update_model_version(registry.name, version.id, stage=stage, force=True)
