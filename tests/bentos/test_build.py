"""BentoML's stores: what is put in, what a crash leaves, and which version is the latest."""

import shutil
from pathlib import Path

import pytest

from bentos import build
from millrace.bundle import EXPLANATION, MANIFEST, seal, verify, write_json
from millrace.errors import UserError

NAME = "served_houses"
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def home(bentoml_home: Path) -> Path:
    """BENTOML_HOME with empty stores."""
    for store in ("models", "bentos", "tmp"):
        shutil.rmtree(bentoml_home / store, ignore_errors=True)
        (bentoml_home / store).mkdir()
    return bentoml_home


@pytest.fixture
def stored(home: Path, houses_folder: Path) -> str:  # noqa: ARG001
    return build.store_model(houses_folder, NAME, verify(houses_folder), "3")


@pytest.fixture
def other(houses_folder: Path, tmp_path: Path) -> Path:
    """A bundle with one file more, so another version."""
    folder = shutil.copytree(houses_folder, tmp_path / "other")
    (folder / MANIFEST).unlink()
    write_json(folder / EXPLANATION, [])
    seal(folder)
    return folder


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_model_is_the_bundle_under_its_digest(stored: str, home: Path, houses_folder: Path) -> None:
    import bentoml

    digest = verify(houses_folder)
    assert stored == f"{NAME}:{digest[:12]}"
    model = Path(bentoml.models.get(stored).path)
    assert model == home / "models" / NAME / digest[:12]
    assert verify(model / build.BUNDLE) == digest
    assert files(model) == {"model.yaml"} | {f"bundle/{name}" for name in files(houses_folder)}


def test_a_stored_model_is_left_alone(stored: str, home: Path, houses_folder: Path) -> None:
    description = home / "models" / stored.replace(":", "/") / "model.yaml"
    before = description.stat()
    assert build.store_model(houses_folder, NAME, verify(houses_folder), "3") == stored
    assert description.stat() == before


def test_a_damaged_model_is_replaced(stored: str, home: Path, houses_folder: Path) -> None:
    bundle = home / "models" / stored.replace(":", "/") / build.BUNDLE
    (bundle / "model.txt").write_text("damaged")
    build.store_model(houses_folder, NAME, verify(houses_folder), "3")
    assert verify(bundle) == verify(houses_folder)


def test_another_bundle_than_the_named_one_is_refused(home: Path, houses_folder: Path) -> None:
    with pytest.raises(UserError, match="is not the bundle with the digest"):
        build.store_model(houses_folder, NAME, "0" * 64, "3")
    assert files(home / "models") == set()


def test_a_crash_leaves_nothing_half_stored(
    home: Path, houses_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "_move_in", crash)
    with pytest.raises(KeyboardInterrupt):
        build.store_model(houses_folder, NAME, verify(houses_folder), "3")
    assert files(home / "models") == set()


def test_a_bento_holds_the_code_the_lock_and_the_model(
    stored: str, home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import bentoml

    before = Path.cwd()
    tag = build.build_bento(stored)
    assert tag.startswith(f"{stored}-")
    assert Path.cwd() == before
    assert capfd.readouterr() == ("", "")
    bento = bentoml.bentos.get(tag)
    assert [str(model.tag) for model in bento.info.all_models] == [stored]
    assert bento.info.args == {"model": stored}
    packed = Path(bento.path)
    assert {path.name for path in (packed / "src").iterdir()} == {"bentofile.yaml", "bentos", "millrace"}
    assert (packed / "src" / "millrace" / "templates" / "card.html").is_file()
    assert (packed / "src" / "bentos" / "page" / "page.js").is_file()
    locked = (ROOT / "requirements" / "serve.txt").read_bytes()
    assert (packed / "env" / "python" / "requirements.txt").read_bytes() == locked
    assert list((home / "tmp").iterdir()) == []


def test_the_latest_is_what_was_asked_for_last(stored: str, other: Path) -> None:
    import bentoml

    older = build.build_bento(stored)
    newer = build.build_bento(build.store_model(other, NAME, verify(other), "3"))
    assert str(bentoml.bentos.get(f"{NAME}:latest").tag) == newer
    assert build.build_bento(stored) == older
    assert str(bentoml.bentos.get(f"{NAME}:latest").tag) == older


def test_other_code_around_the_same_model_is_another_bento(
    stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build.build_bento(stored)
    monkeypatch.setattr(build, "code_digest", lambda: "c0ffee00" * 8)
    assert build.build_bento(stored) == f"{stored}-c0ffee00" != first


def test_a_bento_of_a_damaged_model_is_not_built(stored: str, home: Path) -> None:
    from bentoml.exceptions import BentoMLException

    (home / "models" / stored.replace(":", "/") / build.BUNDLE / "model.txt").write_text("damaged")
    before = Path.cwd()
    with pytest.raises(BentoMLException, match="was changed after training"):
        build.build_bento(stored)
    assert Path.cwd() == before
    assert files(home / "bentos") == set()
