"""From a table that nobody has described to a trained model, by two commands and no edit."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import run
from tests.conftest import QUICK, ROOT, SHARED, Home
from tests.millrace.traps import as_csv, trap_table

MESSY = SHARED / "california_housing_messy.csv"


@pytest.fixture
def problems(opened: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of configs/ that commands of this process use; the folder of its problems."""
    assert opened.path.is_dir()
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    monkeypatch.setattr(run, "CONFIGS", tmp_path / "configs")
    return tmp_path / "configs" / "problems"


def outcome(summary: Path, *arguments: str) -> dict[str, Any]:
    """Run a command, expect success, and return its JSON summary."""
    assert run.main([*arguments, "--summary", str(summary)]) == 0
    found: dict[str, Any] = json.loads(summary.read_text())
    return found


def drafted_and_trained(
    table: Path, target: str, tmp_path: Path, *settings: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The summaries of profiling a table and of training on the draft as it is."""
    draft = outcome(
        tmp_path / "draft.json", "--pipeline", "profiling", "--data", str(table), "--target", target
    )
    trained = outcome(
        tmp_path / "trained.json", "--pipeline", "training", "--problem", draft["problem"], *QUICK, *settings
    )
    return draft, trained


def test_a_table_with_every_trap_is_profiled_and_trained(
    problems: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "Flats, 2024.csv"
    table.write_bytes(as_csv(trap_table()))
    draft, trained = drafted_and_trained(table, "rent", tmp_path)
    assert trained["rows"] == draft["rows"] == {"read": 605, "used": 594, "quarantined": 6, "duplicates": 5}
    assert trained["promoted"] is True
    shown = capsys.readouterr().out
    assert all(decision["column"] in shown for decision in draft["decisions"])
    assert "constant: 'DE' in every row" in shown

    text = (problems / "flats_2024.yaml").read_text()
    assert "# - country: constant: 'DE' in every row" in text
    page = Path(draft["profile"]).read_text()
    assert 'src="http' not in page
    assert "<script" not in page
    assert "Straße &amp; Nr." in page
    suite = json.loads((Path(draft["expectations"]) / "area.json").read_text())
    assert "expect_column_values_to_be_between" in {rule["type"] for rule in suite["expectations"]}

    from zenml.client import Client

    assert Client().get_artifact_version("profile_page").visualizations
    again = ["--pipeline", "profiling", "--data", str(table), "--target", "rent"]
    assert run.main(again) == 2
    assert "is there already: pass another name with --problem" in capsys.readouterr().err
    (problems / "flats_2024.yaml").unlink()
    assert run.main(again) == 0
    shown = capsys.readouterr().err
    assert all(f"{step}: unchanged, taken from the cache" in shown for step in ("draft", "profile"))
    assert (problems / "flats_2024.yaml").read_text() == text


@pytest.mark.skipif(not MESSY.is_file(), reason="the messy California table is not there")
def test_the_messy_california_table_is_profiled_and_trained(problems: Path, tmp_path: Path) -> None:
    draft, trained = drafted_and_trained(MESSY, "median_house_value", tmp_path)
    assert (problems / "california_housing_messy.yaml").is_file()
    assert trained["rows"] == draft["rows"]
    assert draft["rows"] == {"read": 20640, "used": 20640, "quarantined": 0, "duplicates": 0}
    becomes = {decision["column"]: decision["becomes"] for decision in draft["decisions"]}
    assert becomes["ocean_proximity"] == "category"
    assert becomes["median_house_value"] == "integer, target"
    assert trained["promoted"] is True


def test_classes_are_profiled_and_trained(problems: Path, tmp_path: Path) -> None:
    columns = trap_table(rows=300)
    del columns["rent"], columns["rent.per.year"]
    columns["kind"] = [
        "big" if float(area) > 90 else "small" if float(area) < 60 else "middle" for area in columns["area"]
    ]
    columns["area"] = [str(round(float(area) / 15)) for area in columns["area"]]
    table = tmp_path / "kinds.csv"
    table.write_bytes(as_csv(columns))
    draft, trained = drafted_and_trained(table, "kind", tmp_path)
    assert (draft["task"], trained["rows"]) == ("multiclass", draft["rows"])
    assert (problems / "kinds.yaml").is_file()


ARGUMENTS: list[tuple[list[str], str]] = [
    (["--data", "{table}", "--target", "rnet"], "no column 'rnet' to predict. Did you mean 'rent'?"),
    (["--data", "{table}"], "pass --target COLUMN"),
    (["--target", "rent"], "pass --data PATH_OR_URI"),
    (["--data", "{table}", "--target", "rent", "--problem", "iris"], "iris.yaml is there already"),
    (["--data", "{table}", "--target", "rent", "--problem", "My flats"], "for example --problem my_flats"),
    (["--data", "absent.csv", "--target", "rent"], "absent.csv: no such file"),
    (["--data", "{table}", "--target", "flat id"], "neither numbers nor 2 to 50 classes"),
    (["--data", "{table}", "--target", "country"], "there is nothing to predict"),
    (["--data", "{table}", "--target", "rent", "--set", "max_category=3"], "Did you mean 'max_categories'?"),
]


@pytest.mark.parametrize(("arguments", "expected"), ARGUMENTS, ids=[expected for _, expected in ARGUMENTS])
def test_what_cannot_be_profiled_is_refused_and_writes_nothing(
    arguments: list[str],
    expected: str,
    problems: Path,
    tmp_path: Path,
    opened: Home,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = tmp_path / "flats.csv"
    table.write_bytes(as_csv(trap_table(rows=100)))
    before = sorted(problems.iterdir())
    filled = [argument.replace("{table}", str(table)) for argument in arguments]
    assert run.main(["--pipeline", "profiling", *filled]) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert "Traceback" not in captured.err
    assert sorted(problems.iterdir()) == before
    assert not (opened.path / "profiles").exists()


@pytest.mark.usefixtures("problems")
def test_training_takes_no_target(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--pipeline", "training", "--problem", "iris", "--target", "species"]) == 2
    assert "--target is for --pipeline profiling" in capsys.readouterr().err
