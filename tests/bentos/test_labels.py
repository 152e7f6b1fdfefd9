"""What an image says of the Bento in it."""

import shutil
from datetime import datetime
from pathlib import Path

import pytest

from bentos import build, labels
from millrace.bundle import CONTRACT, verify
from millrace.errors import UserError

NAME = "served_houses"


@pytest.fixture
def exported(bentoml_home: Path, houses_folder: Path, tmp_path: Path) -> Path:
    """The folder of a Bento as it is exported: with its model."""
    import bentoml

    for store in ("models", "bentos", "tmp"):
        shutil.rmtree(bentoml_home / store, ignore_errors=True)
        (bentoml_home / store).mkdir()
    tag = build.build_bento(build.store_model(houses_folder, NAME, verify(houses_folder), "3"))
    packed = bentoml.export_bento(tag, str(tmp_path / "packed.bento"))
    shutil.unpack_archive(packed, tmp_path / "bento", "tar")
    return tmp_path / "bento"


def test_it_names_model_bundle_and_commit(exported: Path, houses_folder: Path) -> None:
    told = labels.labels(exported, "c0ffee")
    digest = verify(houses_folder)
    assert datetime.fromisoformat(told.pop("org.opencontainers.image.created")).tzinfo
    assert told == {
        "org.opencontainers.image.title": NAME,
        "org.opencontainers.image.version": f"{digest[:12]}-{build.code_digest()[:8]}",
        "org.opencontainers.image.revision": "c0ffee",
        "dev.millrace.problem": NAME,
        "dev.millrace.bundle.digest": digest,
        "dev.millrace.model.version": "3",
    }


def test_no_commit_is_told_of_code_that_is_not_here(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "code_digest", lambda: "c0ffee00" * 8)
    assert "org.opencontainers.image.revision" not in labels.labels(exported, "c0ffee")


def test_a_damaged_bundle_has_no_labels(exported: Path) -> None:
    (contract,) = exported.rglob(CONTRACT)
    contract.write_text("{}")
    with pytest.raises(UserError, match="was changed after training"):
        labels.labels(exported, "c0ffee")
