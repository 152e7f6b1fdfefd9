"""The training command for tables that stay on disk: all rows are learnt from, here or by Dask's workers."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import run
from millrace.sample import housing_sample
from steps.scratch import owned
from tests.conftest import Home, opened_copy
from tests.millrace.test_cluster import scheduler, worker

ROWS, BAD = 8_000, 3
SMALL = (
    "--set=candidates.lightgbm.n_estimators=40",
    "--set=candidates.lightgbm.learning_rate=0.1",
    "--set=folds=2",
    "--set=bootstrap=100",
    "--set=explained_rows=50",
)
# Above the size of the tables here, and fewer rows than either side has.
ON_DISK = (*SMALL, "--set=large.mib=0.1", "--set=large.draw=1000")


def command(table: Path) -> list[str]:
    return ["--pipeline", "training", "--problem", "housing_sample", "--data", str(table)]


def summary(table: Path, *arguments: str) -> dict[str, Any]:
    path = table.parent / "summary.json"
    assert run.main([*command(table), "--summary", str(path), *arguments]) == 0
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two files of blocks, some of whose rows break the contract."""
    folder = tmp_path_factory.mktemp("tables") / "blocks"
    folder.mkdir()
    for seed in (1, 2):
        blocks = housing_sample(ROWS // 2, seed=seed)
        age = blocks["HouseAge"].to_numpy().copy()
        age[: BAD - seed] = -5
        position = blocks.column_names.index("HouseAge")
        pq.write_table(blocks.set_column(position, "HouseAge", pa.array(age)), folder / f"{seed}.parquet")
    return folder


@pytest.fixture(scope="module")
def shared(trained: tuple[Home, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home that the tests of this process share."""
    with opened_copy(trained[1], tmp_path_factory.mktemp("shared") / "state") as home:
        yield home


@pytest.fixture(scope="module")
def here(shared: Home, table: Path) -> dict[str, Any]:  # noqa: ARG001 - whose home it is
    """What this process makes of the table."""
    return summary(table, *ON_DISK)


def test_all_rows_are_learnt_from_but_those_held_out(here: dict[str, Any]) -> None:
    from zenml.client import Client

    assert here["rows"] == {"read": ROWS, "used": ROWS - BAD, "quarantined": BAD, "duplicates": 0}
    assert here["left_out"] == ["hist_boosting", "linear", "random_forest"]
    assert (here["on_disk"]["engine"], here["on_disk"]["drawn_holdout"]) == ("local", 1000)
    steps = Client().get_pipeline_run(here["run_id"]).steps
    outputs = {name: found[0].load() for name, found in steps["store"].outputs.items()}
    stored, split = outputs["rows"], outputs["split"]
    assert stored.rows == split.training_rows > 0.75 * ROWS
    assert split.training_rows + split.holdout_rows == ROWS - BAD
    learnt = {row.tobytes() for row in stored.inputs()}
    names = list(stored.problem.inputs)
    held, drawn = (
        {row.tobytes() for row in outputs[side][names].to_numpy()}
        for side in ("holdout_rows", "training_rows")
    )
    assert len(held) == 1000
    assert not held & learnt
    assert drawn < learnt
    assert set(outputs["quarantine"]["_reason"]) == {"HouseAge: below 0"}
    assert len(outputs["quarantine"]) == BAD
    bundle = Path(steps["bundle"].outputs["bundle"][0].uri)
    card = (bundle / "card.md").read_text()
    assert f"{ROWS - BAD:,}: {split.training_rows:,} to learn from" in card
    assert "The table stayed on disk." in card
    data = json.loads((bundle / "provenance.json").read_text())["data"]
    assert (data["rows"], data["digest"]) == (ROWS, here["on_disk"]["digest"])
    # As many trees see every row of the first: those that are not held out.
    [first] = re.findall(r"internal_count=(\d+)", (bundle / "model.txt").read_text())[:1]
    assert int(first) == pytest.approx(0.8 * split.training_rows, rel=0.05)


def test_the_workers_of_a_cluster_learn_as_much(
    here: dict[str, Any], table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with scheduler() as address, worker(address, tmp_path / "1"), worker(address, tmp_path / "2"):
        there = summary(table, *ON_DISK, "--engine", "dask", "--scheduler", address)
    assert there["on_disk"] == {**here["on_disk"], "engine": "dask"}
    assert there["holdout"]["rmse"]["value"] == pytest.approx(here["holdout"]["rmse"]["value"], rel=0.05)
    printed = " ".join(capsys.readouterr().out.split())
    assert "learnt from by the workers of a Dask cluster" in printed
    assert "are of 1,000 of its rows, drawn by their hashes" in printed
    assert "not LightGBM, which alone learns from rows on disk" in printed


def test_killed_it_goes_on_from_its_finished_steps(home: Home, table: Path) -> None:
    tuned = ("--set=tuning.trials=3", "--set=tuning.seconds=60")
    home.python("run.py", *command(table), *ON_DISK, *tuned).kill_at("fit_best")
    process = home.python("run.py", *command(table), *ON_DISK, *tuned)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "tune_lightgbm: unchanged, taken from the cache" in err
    assert "cross_validate_lightgbm: unchanged, taken from the cache" in err
    assert "none -> version 1" in out
    assert [path for path in (home.path / "scratch").iterdir() if path.is_dir()] == []
    assert len(list((home.path / "store" / "rows").iterdir())) == 1


REFUSED = [
    (["--engine", "dask"], "--engine dask is for tables of 512 MiB or more, which this one is not"),
    (["--engine", "dask", "--data", "nowhere.parquet"], "nowhere.parquet"),
    ([*ON_DISK, "--scheduler", "tcp://a:1"], "pass --engine dask with it"),
    (
        [*ON_DISK, "--engine", "dask", "--scheduler", "tcp://127.0.0.1:9"],
        "--scheduler tcp://127.0.0.1:9: does not answer",
    ),
    ([*ON_DISK, "--set=repeats=2"], "'repeats' is 2"),
    ([*ON_DISK, "--set=folds=11"], "'folds' is 11"),
    ([*ON_DISK, "--set=candidates.lightgbm=null"], "None of the candidates linear, random_forest"),
    ([*ON_DISK, "--set=bad_rows_limit=0"], "3 of 8,000 rows break the contract of 'housing_sample'"),
]


def test_what_cannot_be_done_is_one_sentence(
    shared: Home, table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from millrace import clusters

    monkeypatch.setattr(clusters, "ANSWER", 0.5)
    # What a killed process leaves, for the next one that begins: its lock is nobody's.
    owned.cache_clear()
    scratch = shared.path / "scratch"
    dead = scratch / "dead"
    (dead / "training").mkdir(parents=True)
    dead.with_suffix(".lock").touch()
    for arguments, expected in REFUSED:
        assert run.main([*command(table), *arguments]) == 2
        told = capsys.readouterr().err
        assert expected in told
        assert "Traceback" not in told
    assert not dead.exists()
    # This process has folders there for as long as it lives, with nothing of the rows in them.
    assert [*scratch.rglob("*.f64"), *scratch.rglob("*.bin")] == []
