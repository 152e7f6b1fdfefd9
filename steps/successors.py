"""Versions that keep rows of a key, each succeeded by the same model sealed without them, and deleted.

Killed at any point, the next run goes on: a version goes when its successor is there, and what is gone is
not found again.
"""

import shutil
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from millrace.bundle import CARD, METRICS, REFERENCE, Bundle, load_bundle
from millrace.card import shown
from millrace.forgetting import kept_rows, succeed
from millrace.registry import CHALLENGER, CHAMPION, DIGEST_TAG, Registration, Registry
from millrace.strict import Strict
from stacks.environment import home
from steps.materializers import BundleMaterializer
from steps.model_control_plane import agree_with_registry, link_version, zenml_version
from steps.model_version import log_model
from steps.run_tables import artifacts, delete_files
from steps.serve import build_version

SUCCEEDS_TAG, SUCCEEDED_TAG = "succeeds", "succeeded_by"
SUCCESSOR = "succeeding_bundle"
BUNDLES = ("bundle", "promoted_bundle", SUCCESSOR)


class Successor(Strict):
    """A version whose bundle had rows of the key, and the one that took its place; None before it has.

    `bento` is that of the new champion, if it is one, built on this machine.
    """

    version: str
    rows: int
    champion: bool
    successor: str | None
    bento: str = ""


def go_on(registry: Registry) -> None:
    """Delete what a run that was killed had begun to delete."""
    for version in registry.versions():
        if SUCCEEDED_TAG in registry.client.get_model_version(registry.name, version.version).tags:
            _delete(registry, version)


def find_versions(registry: Registry, digest: str) -> tuple[list[Successor], list[str]]:
    """Versions that have rows of a key, oldest first; and those of which nobody knows."""
    champion, found, unknown = registry.with_alias(CHAMPION), [], []
    for version in registry.versions():
        if SUCCEEDED_TAG in registry.client.get_model_version(registry.name, version.version).tags:
            continue
        rows = kept_rows(registry.fetch_verified(version, home() / "cache"), digest)
        if rows is None:
            unknown.append(version.version)
        elif rows:
            is_champion = champion is not None and champion.version == version.version
            found.append(Successor(version=version.version, rows=rows, champion=is_champion, successor=None))
    return found, unknown


def replace_version(registry: Registry, found: Successor, digest: str) -> Successor:
    """Register a successor, point aliases at it, then delete the version with all its copies."""
    version = registry.get(found.version)
    assert version is not None
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        succeed(registry.fetch_verified(version, home() / "cache"), folder, digest)
        bundle = load_bundle(folder)
        successor = registry.find(bundle.digest) or _register(registry, version, bundle)
        _link(successor, bundle)
    for alias in (CHALLENGER, CHAMPION):
        aliased = registry.with_alias(alias)
        if aliased is not None and aliased.version == version.version:
            if alias == CHAMPION:
                registry.promote(successor.version)
            else:
                registry.client.set_registered_model_alias(registry.name, alias, successor.version)
    agree_with_registry(registry)
    # It may have been made champion by a run that was killed.
    champion = registry.with_alias(CHAMPION) == successor
    bento = build_version(successor) if champion else ""
    # From here on its bundle need not be whole any more.
    registry.client.set_model_version_tag(registry.name, version.version, SUCCEEDED_TAG, successor.version)
    _delete(registry, version)
    return found.model_copy(update={"successor": successor.version, "champion": champion, "bento": bento})


def _register(registry: Registry, version: Registration, bundle: Bundle) -> Registration:
    import mlflow

    before = registry.client.get_model_version(registry.name, version.version)
    mlflow.set_tracking_uri(registry.tracking_uri)
    mlflow.set_experiment(registry.name)
    with mlflow.start_run(run_name=f"successor of version {version.version}") as active:
        metrics = bundle.read(METRICS)["evaluation"]["metrics"]
        mlflow.log_metrics({f"holdout_{name}": interval["value"] for name, interval in metrics.items()})
        model_id = log_model(bundle, pd.read_parquet(bundle.folder / REFERENCE))
        mlflow.log_text(shown(bundle.folder, CARD), CARD)
        tags = {**before.tags, DIGEST_TAG: bundle.digest, SUCCEEDS_TAG: version.version}
        return registry.register(model_id, active.info.run_id, tags, before.description or "")


def _link(successor: Registration, bundle: Bundle) -> None:
    """The successor's bundle as an artifact of its version in ZenML."""
    from zenml.artifacts.utils import save_artifact
    from zenml.client import Client
    from zenml.exceptions import EntityExistsError

    with suppress(EntityExistsError):
        save_artifact(
            bundle,
            SUCCESSOR,
            version=bundle.digest,
            materializer=BundleMaterializer,
            tags=[successor.name],
        )
    artifact = Client().get_artifact_version(SUCCESSOR, bundle.digest)
    link_version(successor.name, successor.version, successor.digest, artifact.id, None)


def _delete(registry: Registry, version: Registration) -> None:
    """A version out of BentoML, ZenML, this machine's cache and, last, MLflow, by which it is found again."""
    from zenml.client import Client

    from bentos.build import bentoml_home

    tag = version.digest[:12]
    shutil.rmtree(bentoml_home() / "models" / version.name / tag, ignore_errors=True)
    for bento in (bentoml_home() / "bentos" / version.name).glob(f"{tag}-*"):
        shutil.rmtree(bento)
    client = Client()
    for artifact in artifacts(BUNDLES):
        if artifact.run_metadata.get("digest") == version.digest:
            delete_files(artifact)
    for found in client.list_model_versions(model=version.name, name=zenml_version(version.version)).items:
        client.delete_model_version(found.id)
    shutil.rmtree(registry.cached_bundle(version.version, home() / "cache"), ignore_errors=True)
    _delete_logged(registry, version)
    registry.client.delete_model_version(registry.name, version.version)


def _delete_logged(registry: Registry, version: Registration) -> None:
    """The files of a version's logged model, and then the logged model."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    about = registry.client.get_model_version(registry.name, version.version)
    # Gone already, where a run was killed here.
    with suppress(MlflowException):
        logged = registry.client.get_logged_model(about.model_id or about.source.rpartition("/")[2])
        get_artifact_repository(logged.artifact_location).delete_artifacts()
        registry.client.delete_logged_model(logged.model_id)
