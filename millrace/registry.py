"""The MLflow model registry: one registered model a problem, one version a bundle, two aliases.

The alias `champion` is the truth about what serves; `challenger` is the newest version that is not
the champion. A version is found again by its bundle digest, so registering twice makes one version.
"""

import hashlib
import logging
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from millrace.strict import Strict

CHAMPION = "champion"
CHALLENGER = "challenger"
DIGEST_TAG = "bundle_digest"
# Where `mlflow.pyfunc` puts the folder it is given, inside a logged model.
BUNDLE_PATH = "data/bundle"


class Registration(Strict):
    """A bundle's version in the registry."""

    name: str
    version: str
    digest: str
    run_id: str


class Registry:
    """One problem's registered model."""

    def __init__(self, name: str, tracking_uri: str) -> None:
        # MLflow announces each database migration and alias as news.
        for logger in ("mlflow", "alembic"):
            logging.getLogger(logger).setLevel(logging.ERROR)
        self.name = name
        self.client = MlflowClient(tracking_uri, tracking_uri)
        self.tracking_uri = tracking_uri

    def find(self, digest: str) -> Registration | None:
        """The version that holds the bundle with this digest, if there is one."""
        found = self.client.search_model_versions(f"name='{self.name}' and tags.{DIGEST_TAG}='{digest}'")
        return _registration(min(found, key=lambda version: int(version.version))) if found else None

    def versions(self) -> list[Registration]:
        """Every version, oldest first."""
        found = self.client.search_model_versions(f"name='{self.name}'")
        return [_registration(version) for version in sorted(found, key=lambda v: int(v.version))]

    def with_alias(self, alias: str) -> Registration | None:
        """The version an alias points at, if any."""
        try:
            return _registration(self.client.get_model_version_by_alias(self.name, alias))
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def register(self, model_id: str, run_id: str, tags: dict[str, str], description: str) -> Registration:
        """Add a version for a logged model; its tags, the digest among them, are set in the same call."""
        try:
            self.client.create_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        # A server wants the model's id beside its URI.
        version = self.client.create_model_version(
            self.name, f"models:/{model_id}", run_id, tags=tags, description=description, model_id=model_id
        )
        return _registration(version)

    def mark_challenger(self, version: str) -> None:
        """Point the alias `challenger` at a version, unless it is the champion."""
        champion = self.with_alias(CHAMPION)
        if champion is None or champion.version != version:
            self.client.set_registered_model_alias(self.name, CHALLENGER, version)

    def promote(self, version: str) -> None:
        """Point the alias `champion` at a version; it is then no longer the challenger."""
        self.client.set_registered_model_alias(self.name, CHAMPION, version)
        challenger = self.with_alias(CHALLENGER)
        if challenger is not None and challenger.version == version:
            self.client.delete_registered_model_alias(self.name, CHALLENGER)

    def fetch_bundle(self, version: str, cache: Path) -> Path:
        """The folder of a version's bundle; from a server it is downloaded once, into the folder `cache`."""
        source = self.client.get_model_version_download_uri(self.name, version)
        bundle = f"{source}/{BUNDLE_PATH}"
        if not self.tracking_uri.startswith("http"):
            return Path(download_artifacts(bundle, tracking_uri=self.tracking_uri))
        folder = cache / "bundles" / hashlib.sha256(f"{self.tracking_uri} {bundle}".encode()).hexdigest()
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=folder.parent) as scratch:
                got = download_artifacts(bundle, dst_path=scratch, tracking_uri=self.tracking_uri)
                # Moved in whole, unless another process has just done so.
                with suppress(OSError):
                    Path(got).rename(folder)
        return folder


def _registration(version: ModelVersion) -> Registration:
    return Registration(
        name=version.name,
        version=str(version.version),
        digest=version.tags.get(DIGEST_TAG, ""),
        run_id=version.run_id or "",
    )
