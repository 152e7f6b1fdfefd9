"""The MLflow model registry: one registered model a problem, one version a bundle, two aliases.

The alias `champion` is the truth about what serves; `challenger` is the newest version that is not
the champion. A version is found again by its bundle digest, so registering twice makes one version.
A tag of the model names who was champion, one after another, so that the last change can be taken back.
"""

import hashlib
import logging
import shutil
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from mlflow.artifacts import download_artifacts
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from millrace.bundle import verify
from millrace.errors import UserError
from millrace.strict import Strict

CHAMPION = "champion"
CHALLENGER = "challenger"
DIGEST_TAG = "bundle_digest"
# Tags of the registered model: its champions, and the move of the alias that a roll-back is about.
CHAMPIONS_TAG = "champions"
ROLL_BACK_TAG = "rolling_back"
# MLflow takes 5000 characters of a tag.
KEPT_CHAMPIONS = 100
# Where `mlflow.pyfunc` puts the folder it is given, inside a logged model.
BUNDLE_PATH = "data/bundle"


class Registration(Strict):
    """A bundle's version in the registry."""

    name: str
    version: str
    digest: str
    run_id: str


class Move(NamedTuple):
    """The alias `champion` on its way from one version to another."""

    left: str
    version: str


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

    def get(self, version: str) -> Registration | None:
        """One version, if there is one of this number."""
        return next((each for each in self.versions() if each.version == version), None)

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
        """Point the alias `champion` at a version; it is then no longer the challenger.

        Who was champion is written first, and the alias is the truth: see `champions`.
        """
        champions = self.champions()
        if champions[-1:] != [version]:
            self._keep([*champions, version])
        self._point_champion_at(version)
        self.end_roll_back()

    def champions(self) -> list[str]:
        """The versions that were champion, oldest first; the last is champion now.

        The alias says who that is. What the tag has beyond it, a crash has left there, or somebody who set
        the alias by hand.
        """
        champion = self.with_alias(CHAMPION)
        if champion is None:
            return []
        kept = self._tags().get(CHAMPIONS_TAG, "").split()
        if champion.version not in kept:
            return [*kept, champion.version]
        while kept[-1] != champion.version:
            kept.pop()
        return kept

    def next_roll_back(self) -> Move | None:
        """From which version to which one a roll-back goes: one that was begun, or to the champion before.

        None if no champion before is known that still is a version.
        """
        *before, champion = self.champions() or [""]
        begun = self._tags().get(ROLL_BACK_TAG, "").split()
        if champion in begun:
            return Move(*begun)
        there = {version.version for version in self.versions()} - {champion}
        known = [version for version in before if version in there]
        return Move(champion, known[-1]) if known else None

    def roll_back(self, move: Move) -> None:
        """Point the alias at the champion before.

        Until `end_roll_back` the next one is this one again: it goes no further back.
        """
        self.client.set_registered_model_tag(self.name, ROLL_BACK_TAG, f"{move.left} {move.version}")
        self._point_champion_at(move.version)
        self._keep(self.champions())

    def end_roll_back(self) -> None:
        """Let the next roll-back be another one."""
        if ROLL_BACK_TAG in self._tags():
            self.client.delete_registered_model_tag(self.name, ROLL_BACK_TAG)

    def _point_champion_at(self, version: str) -> None:
        self.client.set_registered_model_alias(self.name, CHAMPION, version)
        challenger = self.with_alias(CHALLENGER)
        if challenger is not None and challenger.version == version:
            self.client.delete_registered_model_alias(self.name, CHALLENGER)

    def _keep(self, champions: list[str]) -> None:
        kept = " ".join(champions[-KEPT_CHAMPIONS:])
        self.client.set_registered_model_tag(self.name, CHAMPIONS_TAG, kept)

    def _tags(self) -> dict[str, str]:
        try:
            tags: dict[str, str] = self.client.get_registered_model(self.name).tags
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return {}
            raise
        return tags

    def fetch_bundle(self, version: str, cache: Path) -> Path:
        """The folder of a version's bundle; from a server it is downloaded once, into the folder `cache`.

        A download that is no longer whole is made anew.
        """
        bundle = self._bundle_uri(version)
        if not self.tracking_uri.startswith("http"):
            return Path(download_artifacts(bundle, tracking_uri=self.tracking_uri))
        folder = self.cached_bundle(version, cache)
        if not _is_whole(folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryDirectory(dir=folder.parent) as scratch:
                got = download_artifacts(bundle, dst_path=scratch, tracking_uri=self.tracking_uri)
                # Moved in whole, unless another process has just done so.
                with suppress(OSError):
                    Path(got).rename(folder)
        return folder

    def cached_bundle(self, version: str, cache: Path) -> Path:
        """Where the folder `cache` has a version's bundle once it was downloaded from a server."""
        name = f"{self.tracking_uri} {self._bundle_uri(version)}"
        return cache / "bundles" / hashlib.sha256(name.encode()).hexdigest()

    def _bundle_uri(self, version: str) -> str:
        return f"{self.client.get_model_version_download_uri(self.name, version)}/{BUNDLE_PATH}"

    def fetch_verified(self, registration: Registration, cache: Path) -> Path:
        """The same, once its bundle is known to be the one that was registered.

        Raises:
            UserError: it cannot be had, is damaged, or is another one.
        """
        what = f"Version {registration.version} of '{self.name}' at {self.tracking_uri}"
        try:
            folder = self.fetch_bundle(registration.version, cache)
        except (MlflowException, OSError) as error:
            raise UserError(f"{what}: its bundle cannot be fetched ({_line(error)}).") from None
        try:
            digest = verify(folder)
        except UserError as error:
            raise UserError(f"{what}: its bundle is damaged. {error}") from None
        if digest != registration.digest:
            raise UserError(
                f"{what} was registered with the digest {registration.digest or '(none)'}, but its bundle "
                f"has {digest}; delete that version."
            )
        return folder


def _is_whole(bundle: Path) -> bool:
    try:
        verify(bundle)
    except UserError:
        return False
    return True


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _registration(version: ModelVersion) -> Registration:
    return Registration(
        name=version.name,
        version=str(version.version),
        digest=version.tags.get(DIGEST_TAG, ""),
        run_id=version.run_id or "",
    )
