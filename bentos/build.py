"""From a bundle to a Bento: the BentoML model that holds it, and the service packed around it.

Models and Bentos are put together beside BentoML's stores, on the same disk, and moved in whole: a
crash leaves nothing half stored. Everything is under BENTOML_HOME.
"""

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from millrace.bundle import copy_bundle, verify
from millrace.errors import UserError

ROOT = Path(__file__).parent.parent
PACKED = ("bentos", "millrace")
REQUIREMENTS = Path("requirements", "serve.txt")
SERVICE = "bentos.service"
# The bundle's folder in a BentoML model, beside BentoML's own model.yaml.
BUNDLE = "bundle"
VERSION = "registry_version"
# The file in which BentoML keeps the latest version's name, beside the versions.
LATEST = "latest"


def store_model(bundle_folder: Path, name: str, digest: str, version: str) -> str:
    """Copy a bundle into BentoML's model store and return the model's tag.

    The tag is the name and the digest's first 12 digits; the registry's `version`, which the service
    tells, is a label. A model that is there and whole is left alone.

    Raises:
        UserError: the folder is no bundle, or not the one with this digest.
    """
    import bentoml
    from bentoml._internal.models import ModelStore

    tag = bentoml.Tag(name, digest[:12])
    target = bentoml_home() / "models" / tag.path()
    if not _holds(target / BUNDLE, digest):
        with _scratch() as scratch:
            with bentoml.models.create(
                tag, labels={VERSION: version}, _model_store=ModelStore(scratch)
            ) as model:
                if copy_bundle(bundle_folder, Path(model.path) / BUNDLE) != digest:
                    raise UserError(f"{bundle_folder}: is not the bundle with the digest {digest}.")
            _move_in(scratch / tag.path(), target)
            # BentoML looks for the newest when this is gone.
            target.with_name(LATEST).unlink(missing_ok=True)
    return str(tag)


def build_bento(model_tag: str, *, latest: bool = True) -> str:
    """Build the Bento that serves a BentoML model, unless it is there, and make it the `latest`.

    Returns its tag: the model's, followed by the first 8 digits of the digest of the code around it.
    """
    import bentoml
    from bentoml._internal.bento import BentoStore

    model = bentoml.Tag.from_str(model_tag)
    tag = bentoml.Tag(model.name, f"{model.version}-{code_digest()[:8]}")
    target = bentoml_home() / "bentos" / tag.path()
    if not target.is_dir():
        # The build imports the service, and an import before this one was for another model.
        sys.modules.pop(SERVICE, None)
        # When the service cannot be imported, BentoML does not go back to the folder it came from.
        with _scratch() as scratch, contextlib.chdir(ROOT):
            bento = bentoml.build(
                f"{SERVICE}:Prediction",
                name=tag.name,
                version=tag.version,
                description=f"Predictions of {model_tag} over HTTP.\n",
                args={"model": model_tag},
                build_ctx=str(_context(scratch / "context")),
                python={"lock_packages": False},
                _bento_store=BentoStore(scratch),
            )
            # The image installs from this file. Given the lock, BentoML would parse its thousands of
            # hashes twice, and copy them into bento.yaml, which every start reads.
            shutil.copy(ROOT / REQUIREMENTS, Path(bento.path) / "env" / "python" / "requirements.txt")
            _move_in(scratch / tag.path(), target)
    if latest:
        _make_latest(target)
    return str(tag)


def _make_latest(bento: Path) -> None:
    """Let `bentoml serve NAME:latest` serve the Bento in a folder, though newer ones may be there."""
    # BentoML has no call for this.
    new = bento.with_name(f"{LATEST}.{os.getpid()}")
    new.write_text(bento.name)
    new.replace(bento.with_name(LATEST))


def latest_model(name: str) -> str | None:
    """The tag of the model that the latest Bento of this name serves; None if there is no Bento."""
    try:
        version = (bentoml_home() / "bentos" / name / LATEST).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    return f"{name}:{version.partition('-')[0]}"


def code_digest() -> str:
    """sha256 of what is packed around the model; another digest, another Bento."""
    digest = hashlib.sha256((ROOT / REQUIREMENTS).read_bytes())
    for path in sorted(path for name in PACKED for path in (ROOT / name).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def bentoml_home() -> Path:
    """Where BentoML keeps models and Bentos."""
    from bentoml._internal.configuration.containers import BentoMLContainer

    return Path(BentoMLContainer.bentoml_home.get())


def _holds(folder: Path, digest: str) -> bool:
    try:
        return verify(folder) == digest
    except UserError:
        return False


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=bentoml_home() / "tmp") as folder:
        yield Path(folder)


def _context(folder: Path) -> Path:
    """What goes into a Bento, and nothing else: BentoML would read through the whole repository."""
    for name in PACKED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def _move_in(item: Path, target: Path) -> None:
    """Put a finished model or Bento in its place, instead of a damaged one if there is one."""
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    item.rename(target)
