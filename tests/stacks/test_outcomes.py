"""How runs end is kept, one file an outcome, and told to Prometheus."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from stacks import outcomes
from stacks.outcomes import Subject, exposition, fail, noting
from tests.conftest import FEWEST, Home

HOMES = Subject(stack="local", pipeline="training", problem="homes")
FLATS = Subject(stack="local", pipeline="monitoring", problem="flats")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path))
    return tmp_path / "outcomes"


def told() -> dict[tuple[str, ...], float]:
    """What Prometheus reads, by name and labels' values: pipeline, problem and outcome."""
    return {
        (sample.name.removeprefix("millrace_pipeline_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(exposition().decode())
        for sample in family.samples
    }


def end(subject: Subject, fails: bool = False) -> None:
    with noting(subject):
        if fails:
            raise ValueError("no such column\nand more")


def test_before_any_run_there_is_nothing() -> None:
    assert told() == {}


def test_the_last_end_counts_and_both_ends_are_dated() -> None:
    before = time.time()
    end(HOMES)
    with pytest.raises(ValueError, match="no such column"):
        end(HOMES, fails=True)
    end(FLATS)
    found = told()
    homes, flats = ("training", "homes", "local"), ("monitoring", "flats", "local")
    assert found["failed", *homes] == 1
    assert found["failed", *flats] == 0
    dated = {key[1:]: value for key, value in found.items() if key[0] == "end_timestamp_seconds"}
    completed, failed = (("completed", *homes), ("failed", *homes))
    assert dated.keys() == {completed, failed, ("completed", *flats)}
    assert before <= dated[completed] <= dated[failed] <= dated["completed", *flats] <= time.time()
    assert 0 <= found["seconds", *homes] < 5
    end(HOMES)
    assert told()["failed", *homes] == 0


def test_a_failure_says_why_in_a_line(folder: Path) -> None:
    with pytest.raises(ValueError, match="no such column"):
        end(HOMES, fails=True)
    kept = outcomes.Outcome.model_validate_json((folder / "local/training/homes.failed.json").read_text())
    assert kept.error == "ValueError: no such column"
    assert kept.step is None


def test_a_person_s_stop_is_a_failure_too() -> None:
    with pytest.raises(KeyboardInterrupt), noting(HOMES):
        raise KeyboardInterrupt
    assert told()["failed", "training", "homes", "local"] == 1


def test_a_killed_run_has_failed_after_nobody_knows_how_long() -> None:
    end(HOMES)
    fail(HOMES, None, "its process is gone")
    found = told()
    assert found["failed", "training", "homes", "local"] == 1
    assert ("seconds", "training", "homes", "local") not in found


def test_many_at_once_leave_whole_files_and_no_scraps(folder: Path) -> None:
    def run(number: int) -> None:
        pid = os.fork()
        if pid == 0:
            for _ in range(50):
                fail(HOMES, number, "x" * 400)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0

    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(run, number) for number in range(4)]
        while not all(each.done() for each in runs):
            assert len(told()) in (0, 3)
    assert [each.result() for each in runs] == [None] * 4
    assert [path.name for path in folder.rglob("*.*")] == ["homes.failed.json"]


def test_a_file_that_is_none_hides_no_other(folder: Path) -> None:
    end(HOMES)
    for name, content in {"torn": '{"subject": {"sta', "newer": '{"version": 2}', "empty": ""}.items():
        (folder / "local" / "training" / f"{name}.failed.json").write_text(content)
    assert told()["failed", "training", "homes", "local"] == 0


def test_what_cannot_be_kept_changes_no_end(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.write_text("a file where the folder should be")
    end(HOMES)
    with pytest.raises(ValueError, match="no such column"):
        end(HOMES, fails=True)
    assert capsys.readouterr().err.count("cannot be written") == 2
    assert told() == {}


def test_runs_of_zenml_fail_are_killed_and_complete(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step that failed is known, its error reaches the person, and the next run clears it."""
    monkeypatch.setenv("MILLRACE_HOME", str(home.path))
    iris = ("training", "iris", "local")
    assert told()["failed", *iris] == 0
    trained = told()["end_timestamp_seconds", "completed", *iris]

    spoilt = home.path / "spoilt.csv"
    spoilt.write_text(
        "sepal length (cm),sepal width (cm),petal length (cm),petal width (cm),target\n1,2,3,,a\n"
    )
    refused = home.train(f"--data={spoilt}")
    assert refused.returncode == 2
    assert "error: " in refused.stderr
    assert "hook" not in refused.stderr
    kept = outcomes.Outcome.model_validate_json(
        (home.path / "outcomes/local/training/iris.failed.json").read_text()
    )
    assert (kept.step, kept.subject.problem) == ("check_bronze", "iris")
    assert kept.error is not None
    assert kept.seconds is not None
    assert told()["failed", *iris] == 1
    assert told()["end_timestamp_seconds", "completed", *iris] == trained

    home.start(*FEWEST, "--set=seed=7").kill_at("fit_best")
    assert told()["end_timestamp_seconds", "failed", *iris] == kept.ended
    assert home.train("--set=seed=7").returncode == 0
    found = told()
    assert found["failed", *iris] == 0
    assert kept.ended < found["end_timestamp_seconds", "failed", *iris]
    assert (
        found["end_timestamp_seconds", "failed", *iris] < found["end_timestamp_seconds", "completed", *iris]
    )
    assert found["seconds", *iris] > 1
