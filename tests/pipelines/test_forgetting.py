"""The forgetting command: a person's rows out of the log, the versions and the tables of runs."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

import run
from millrace.bundle import MANIFEST, load_bundle, verify
from millrace.contract import Problem, load_problem
from millrace.forgetting import kept_rows, key_digest
from millrace.prediction_log import read_log
from millrace.registry import CHAMPION, Registry
from tests.conftest import FEWEST, ROOT, Home
from tests.millrace.cases import make_problem, make_table

NAME = "homes"
# None is a part of another.
KEY = "home {:03}"


@pytest.fixture
def problem(opened: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Problem:  # noqa: ARG001
    """A problem with a key, and its table."""
    table, path = make_table(rows=300), tmp_path / "homes.parquet"
    table["id"] = [KEY.format(row) for row in range(300)]
    table.to_parquet(path)
    folder = tmp_path / "configs"
    (folder / "problems").mkdir(parents=True)
    for each in (ROOT / "configs").iterdir():
        if each.name != "problems":
            (folder / each.name).symlink_to(each)
    about = make_problem(source=str(path)).model_dump(mode="json", exclude_defaults=True)
    (folder / "problems" / f"{NAME}.yaml").write_text(yaml.safe_dump({**about, "source": str(path)}))
    monkeypatch.setattr(run, "CONFIGS", folder)
    return load_problem(NAME, folder / "problems")


def command(pipeline: str, *arguments: str, code: int = 0) -> None:
    assert run.main(["--pipeline", pipeline, "--problem", NAME, *arguments]) == code


def forget(tmp_path: Path, key: str, *arguments: str) -> dict[str, Any]:
    path = tmp_path / "forgotten.json"
    command("forgetting", "--key", key, "--summary", str(path), *arguments)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def everything(home: Path, text: bytes) -> list[Path]:
    """The files below a home that have a text in them, also in compressed tables."""
    found = []
    for path in home.rglob("*"):
        # What this process has on its way goes when it ends.
        if not path.is_file() or home / "scratch" in path.parents:
            continue
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
            has = any(text.decode() in set(table[name].astype(str)) for name in table)
        else:
            has = text in path.read_bytes()
        found += [path] if has else []
    return found


def copies(home: Path, digest: str) -> list[Path]:
    """Where below a home the bundle with this digest is, but for what goes when this process ends."""
    found = [path.parent for path in home.rglob(MANIFEST) if home / "scratch" not in path.parents]
    return [folder for folder in found if verify(folder) == digest]


def kept_by(folder: Path, problem: Problem) -> str:
    """A key that a bundle has a row of."""
    return next(key for key in map(KEY.format, range(300)) if kept_rows(folder, key_digest(problem, key)))


def test_a_person_is_forgotten_and_the_model_stays(
    opened: Home,
    problem: Problem,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bentos.build import latest_model
    from steps import successors

    command("training", *FEWEST, "--set=folds=2")
    table = pd.read_parquet(tmp_path / "homes.parquet")
    arguments = ("--input", str(tmp_path / "homes.parquet"), "--output", str(tmp_path / "out"))
    command("inference", *arguments)
    uri = f"sqlite:///{opened.path}/bentoml/prediction_log/{NAME}.db"
    registry = Registry(NAME, f"sqlite:///{opened.path}/store/mlflow.db")
    [version] = registry.versions()
    old = load_bundle(registry.fetch_bundle(version.version, tmp_path))
    key = kept_by(old.folder, problem)
    predicted = old.fitted.predict(table).tolist()

    planned = forget(tmp_path, key, "--dry-run")
    assert (planned["log_rows"], planned["successors"][0]["successor"]) == (1, None)
    assert planned["successors"][0]["champion"] is True
    assert len(planned["runs"]) == 2
    assert registry.versions() == [version]
    assert "nothing done" in capsys.readouterr().out

    done = forget(tmp_path, key)
    assert done["log_rows"] == 1
    assert done["tables"] == planned["tables"] > 5
    [each] = done["successors"]
    assert (each["version"], each["successor"], each["rows"]) == ("1", "2", planned["successors"][0]["rows"])
    [successor] = registry.versions()
    assert registry.with_alias(CHAMPION) == successor
    assert registry.client.get_model_version(NAME, "2").tags["succeeds"] == "1"
    new = load_bundle(registry.fetch_bundle("2", tmp_path))
    assert (new.digest, kept_rows(new.folder, done["key_digest"])) == (successor.digest, 0)
    assert new.fitted.predict(table).tolist() == predicted
    assert latest_model(NAME) == f"{NAME}:{new.digest[:12]}"
    assert done["bento"].startswith(f"{NAME}:{new.digest[:12]}-")
    assert not (opened.path / "bentoml" / "models" / NAME / version.digest[:12]).exists()
    assert key not in set(pd.concat(read_log(uri, problem))["id"])
    assert everything(opened.path, key.encode()) == []
    assert copies(opened.path, version.digest) == []

    # Once more there is nothing to do; and other rows are where they were.
    again = forget(tmp_path, key)
    assert (again["log_rows"], again["successors"], again["runs"], again["tables"]) == (0, [], [], 0)
    assert len(pd.concat(read_log(uri, problem))) == 299

    # Of another one, killed at each of its steps: the same command goes on.
    another = kept_by(new.folder, problem)
    delete = successors._delete_logged

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    def killed_after(*given: Any) -> None:
        delete(*given)
        raise KeyboardInterrupt

    for place in ("_link", "agree_with_registry", "build_version", "_delete", "_delete_logged"):
        with monkeypatch.context() as patch:
            patch.setattr(successors, place, killed_after if place == "_delete_logged" else killed)
            command("forgetting", "--key", another, code=130)
        assert [each.version for each in registry.versions()] == ["2", "3"]
    # Its version had begun to go, and is found no more; the table of its batch job had gone with the first.
    done = forget(tmp_path, another)
    assert done["successors"] == []
    [last] = registry.versions()
    assert registry.with_alias(CHAMPION) == last
    assert latest_model(NAME) == f"{NAME}:{last.digest[:12]}"
    assert copies(opened.path, successor.digest) == []
    assert everything(opened.path, another.encode()) == []

    # What was cached is gone: training reads all anew, and takes the table as it is now.
    table[~table["id"].isin([key, another])].to_parquet(tmp_path / "homes.parquet")
    command("training", *FEWEST, "--set=folds=2")
    command("inference", *arguments, "--overwrite")
    assert everything(opened.path, key.encode()) == everything(opened.path, another.encode()) == []


def test_what_cannot_be_forgotten_is_a_sentence(
    opened: Home,  # noqa: ARG001
    capsys: pytest.CaptureFixture[str],
) -> None:
    for arguments, expected in (
        (["--problem", "iris", "--key", "x"], "The contract of 'iris' has no key"),
        (["--problem", "iris"], "pass --key KEY"),
        (["--problem", "iris", "--key", "x", "--set", "a=1"], "--set is not for --pipeline forgetting"),
    ):
        assert run.main(["--pipeline", "forgetting", *arguments]) == 2
        captured = capsys.readouterr().err
        assert expected in captured
        assert "Traceback" not in captured
    assert run.main(["--pipeline", "training", "--key", "x"]) == 2
    assert "--key is for --pipeline forgetting" in capsys.readouterr().err
