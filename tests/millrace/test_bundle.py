"""The bundle: what is written is what is loaded, and nothing can be changed unseen."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.bundle import (
    MANIFEST,
    PROVENANCE,
    FittedModel,
    copy_bundle,
    load_bundle,
    read_json,
    seal,
    to_json,
    verify,
    write_json,
)
from millrace.digests import file_digest
from millrace.errors import UserError
from tests.millrace.cases import Case, fit, make_fitted


def bundled(folder: Path, fitted: FittedModel, **provenance: Any) -> str:
    """Write a small bundle with a file in a folder of its own, and return its digest."""
    (folder / "more").mkdir(parents=True)
    fitted.save(folder)
    write_json(folder / "metrics.json", {"rmse": 1.0})
    (folder / "more" / "note.txt").write_text("größer\n", encoding="utf-8")
    write_json(folder / PROVENANCE, provenance)
    return seal(folder)


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed bundle; copy it before changing anything."""
    folder = tmp_path_factory.mktemp("bundle") / "original"
    bundled(folder, make_fitted("regression", "linear"))
    return folder


def test_a_loaded_bundle_predicts_the_same_bits(case: Case, fitted: FittedModel, tmp_path: Path) -> None:
    digest = bundled(tmp_path / "bundle", fitted)
    loaded = load_bundle(tmp_path / "bundle")
    assert loaded.digest == digest
    assert loaded.problem == case.problem
    assert list(loaded.problem.features) == list(case.problem.features)
    assert loaded.fitted.state == case.state
    assert loaded.fitted.predict(case.table).tobytes() == fitted.predict(case.table).tobytes()
    assert loaded.read("metrics.json") == {"rmse": 1.0}


def test_the_threshold_is_part_of_a_binary_bundle_and_of_its_digest(tmp_path: Path) -> None:
    fitted = make_fitted("binary", "linear")
    other = replace(fitted, threshold=1 / 3)
    assert bundled(tmp_path / "one", fitted) != bundled(tmp_path / "two", other)
    assert load_bundle(tmp_path / "two").fitted.threshold == 1 / 3
    assert load_bundle(tmp_path / "one").fitted.threshold == 0.5


def test_the_same_training_has_the_same_digest(case: Case, kind: str, tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        model = fit(kind, case.rows)
        digests.append(bundled(tmp_path / name, FittedModel(case.problem, case.state, model)))
    assert digests[0] == digests[1]


def test_storing_a_loaded_bundle_again_gives_the_same_digest(fitted: FittedModel, tmp_path: Path) -> None:
    digest = bundled(tmp_path / "one", fitted)
    assert bundled(tmp_path / "two", load_bundle(tmp_path / "one").fitted) == digest


def test_another_model_has_another_digest(tmp_path: Path) -> None:
    digests = {bundled(tmp_path / kind, make_fitted("regression", kind)) for kind in ("linear", "lightgbm")}
    assert len(digests) == 2


def test_provenance_does_not_change_the_digest_but_is_protected(tmp_path: Path) -> None:
    fitted = make_fitted("regression", "linear")
    assert bundled(tmp_path / "one", fitted, run=1) == bundled(tmp_path / "two", fitted, run=2)
    shutil.copy(tmp_path / "one" / PROVENANCE, tmp_path / "two" / PROVENANCE)
    with pytest.raises(UserError, match=r"'provenance\.json' was changed after training"):
        verify(tmp_path / "two")


def test_an_untouched_bundle_is_verified_also_after_copying(original: Path, tmp_path: Path) -> None:
    digest = verify(original)
    assert copy_bundle(original, tmp_path / "copy") == digest
    assert verify(tmp_path / "copy") == digest


@given(st.data())
def test_any_changed_byte_is_detected(
    original: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("changed") / "bundle"
    shutil.copytree(original, folder)
    path = data.draw(st.sampled_from(sorted(p for p in folder.rglob("*") if p.is_file())))
    content = path.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    byte = bytes([data.draw(st.integers(0, 255).filter(lambda value: value != content[at]))])
    change = data.draw(st.sampled_from(["replace", "insert", "delete", "truncate"]))
    after = {
        "replace": byte + content[at + 1 :],
        "insert": byte + content[at:],
        "delete": content[at + 1 :],
        "truncate": b"",
    }
    path.write_bytes(content[:at] + after[change])
    with pytest.raises(UserError):
        load_bundle(folder)


@given(st.data())
def test_any_removed_file_is_detected(
    original: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("removed") / "bundle"
    shutil.copytree(original, folder)
    data.draw(st.sampled_from(sorted(p for p in folder.rglob("*") if p.is_file()))).unlink()
    with pytest.raises(UserError):
        verify(folder)


@pytest.mark.parametrize("name", ["spare.txt", "more/spare.txt", "new/spare.txt", ".hidden", "model.pkl"])
def test_any_added_file_is_detected(original: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(original, tmp_path / "bundle")
    (tmp_path / "bundle" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "bundle" / name).write_text("")
    with pytest.raises(UserError, match=f"the file '{name}' is not in the manifest"):
        verify(tmp_path / "bundle")


def test_a_file_that_was_renamed_is_detected(original: Path, tmp_path: Path) -> None:
    shutil.copytree(original, tmp_path / "bundle")
    (tmp_path / "bundle" / "metrics.json").rename(tmp_path / "bundle" / "more" / "metrics.json")
    with pytest.raises(UserError, match=r"'metrics\.json' is missing"):
        verify(tmp_path / "bundle")


def test_a_changed_file_with_a_mended_manifest_is_another_bundle(original: Path, tmp_path: Path) -> None:
    shutil.copytree(original, tmp_path / "bundle")
    (tmp_path / "bundle" / "metrics.json").write_text("{}")
    seal(tmp_path / "bundle")
    assert verify(tmp_path / "bundle") != verify(original)


def test_a_manifest_that_leads_out_of_its_folder_is_refused(original: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(original, tmp_path / "bundle")
    (tmp_path / "outside.json").write_text("{}")
    about = read_json(folder / MANIFEST)
    about["files"]["../outside.json"] = file_digest(tmp_path / "outside.json")
    write_json(folder / MANIFEST, about)
    with pytest.raises(UserError, match=r"the file '\.\./outside\.json' is missing"):
        verify(folder)


def test_a_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a bundle, it has no manifest\.json"):
        verify(tmp_path)
    with pytest.raises(UserError, match=r"is not a bundle, it has no manifest\.json"):
        verify(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["", "{}", "[]", "\xff", '{"format": 4}', '{"format": "1"}'])
def test_a_manifest_that_is_none_is_refused(original: Path, tmp_path: Path, content: str) -> None:
    shutil.copytree(original, tmp_path / "bundle")
    (tmp_path / "bundle" / MANIFEST).write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match="is not a bundle's manifest"):
        verify(tmp_path / "bundle")


def test_a_bundle_of_another_format_is_refused(original: Path, tmp_path: Path) -> None:
    shutil.copytree(original, tmp_path / "bundle")
    manifest = json.loads((original / MANIFEST).read_bytes())
    for other in (manifest | {"format": 1}, {"format": 5, "parts": []}):
        write_json(tmp_path / "bundle" / MANIFEST, other)
        with pytest.raises(UserError, match=f"bundle format {other['format']} is not 4"):
            verify(tmp_path / "bundle")


def test_a_bundle_that_is_whole_and_cannot_be_loaded_is_refused(original: Path, tmp_path: Path) -> None:
    shutil.copytree(original, tmp_path / "bundle")
    about = json.loads((original / "model.json").read_bytes()) | {"kind": "oracle"}
    write_json(tmp_path / "bundle" / "model.json", about)
    seal(tmp_path / "bundle")
    with pytest.raises(UserError, match=r"cannot be loaded \(KeyError: 'oracle'\)"):
        load_bundle(tmp_path / "bundle")


def test_a_bundle_is_not_mixed_with_what_was_there(original: Path, tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("old")
    with pytest.raises(UserError, match=r"'old\.txt' is not in the manifest"):
        copy_bundle(original, tmp_path)


def test_no_file_of_a_bundle_is_a_pickle(original: Path) -> None:
    suffixes = {path.suffix for path in original.rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".txt", ".skops"}


def test_json_keeps_order_and_knows_no_nan() -> None:
    assert to_json({"b": 1, "a": "ä"}) == '{\n  "b": 1,\n  "a": "ä"\n}'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"a": float("nan")})
