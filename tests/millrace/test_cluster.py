"""A Dask cluster answers as this process does, also when a worker dies, and says what is wrong with it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from millrace import clusters
from millrace.batch import BatchSettings, Job, Manifest, Output, cluster, run_job
from millrace.batch.job import Progress
from millrace.bundle import PROVENANCE, load_bundle, seal, write_json
from millrace.contract import Task
from millrace.errors import EngineError
from millrace.large import Bins, train, training
from millrace.metrics import PRIMARY
from tests.conftest import ROOT
from tests.millrace.cases import make_fitted
from tests.millrace.test_batch import left, make_job, write_table
from tests.millrace.test_large import SETTINGS, kept

SMALL = BatchSettings(batch_rows=20, partition_rows=40, bad_rows_limit=1)


@dataclass(frozen=True)
class Cluster:
    """A scheduler and two workers, processes of their own that nobody starts again if they die."""

    address: str
    workers: list["subprocess.Popen[str]"]


@contextmanager
def dask(what: str, *arguments: str, first: Path = ROOT) -> Iterator["subprocess.Popen[str]"]:
    """A process of a cluster; it looks for modules in the folder `first` first."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.dask_{what}", *arguments, "--no-dashboard"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{first}:{ROOT}"},
        text=True,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def scheduler() -> Iterator[str]:
    """The address of a scheduler without workers."""
    with dask("scheduler", "--host", "127.0.0.1", "--port", "0") as process:
        assert process.stderr is not None
        yield next(line.split()[-1] for line in process.stderr if "Scheduler at:" in line)


@contextmanager
def worker(address: str, folder: Path, first: Path = ROOT) -> Iterator["subprocess.Popen[str]"]:
    """A worker of one thread with an address of its own, which its scheduler knows by now."""
    own = ["--host", "127.0.0.1", "--no-nanny", "--nthreads", "1", "--local-directory", str(folder)]
    with dask("worker", address, *own, first=first) as process:
        assert process.stderr is not None
        assert any("Registered to:" in line for line in process.stderr)
        yield process


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ExitStack() as stack:
        address = stack.enter_context(scheduler())
        folder = tmp_path_factory.mktemp("workers")
        yield Cluster(address, [stack.enter_context(worker(address, folder)) for _ in range(2)])


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Two files to be scored by a sealed bundle."""
    for name in ("a", "b"):
        write_table(tmp_path / "in" / f"{name}.parquet")
    folder = tmp_path / "bundle"
    folder.mkdir()
    make_fitted("regression", "lightgbm").save(folder)
    write_json(folder / PROVENANCE, {})
    seal(folder)
    made = make_job(tmp_path / "in", settings=SMALL, level=0.9, explain=True)
    return replace(made, bundle=load_bundle(folder), engine="dask")


def here(job: Job, folder: Path) -> Manifest:
    """What this process makes of it."""
    return run_job(replace(job, engine="local"), Output(str(folder / "here")), "run", False)


def test_a_cluster_of_one_s_own_gives_the_same_files(job: Job, tmp_path: Path) -> None:
    manifest = run_job(job, Output(str(tmp_path / "there")), "run", False)
    expected = here(job, tmp_path)
    assert manifest.digest == expected.digest
    assert manifest.rows == expected.rows
    assert manifest.reasons == expected.reasons
    assert left(tmp_path / "there") == left(tmp_path / "here")
    assert sorted(os.listdir(tmp_path)) == ["bundle", "here", "in", "there"]


def test_a_worker_that_is_of_another_version_is_named(
    job: Job, running: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = replace(job, scheduler=running.address)
    with monkeypatch.context() as patch:
        patch.setattr(cluster, "_code_digest", lambda: "other code")
        with pytest.raises(EngineError, match="has another version of Millrace"):
            run_job(job, Output(str(tmp_path / "out")), "run", False)
    # The metadata of another release stands before that of the installed one.
    old = tmp_path / "old" / "lightgbm-3.0.0.dist-info"
    old.mkdir(parents=True)
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: lightgbm\nVersion: 3.0.0\n")
    with (
        scheduler() as address,
        worker(address, tmp_path / "worker", first=old.parent),
        pytest.raises(EngineError, match=r"worker tcp://.* has lightgbm 3\.0\.0, this process 4"),
    ):
        run_job(replace(job, scheduler=address), Output(str(tmp_path / "out")), "run", False)
    # Nothing that was done is lost by it.
    manifest = run_job(job, Output(str(tmp_path / "out")), "again", False)
    assert manifest.digest == here(job, tmp_path).digest


def test_a_scheduler_that_does_not_answer_or_has_no_workers_is_named(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "ANSWER", 0.5)
    monkeypatch.setattr(clusters, "WORKERS", 0.5)
    with pytest.raises(EngineError, match=r"--scheduler tcp://127\.0\.0\.1:9: does not answer"):
        run_job(replace(job, scheduler="tcp://127.0.0.1:9"), Output(str(tmp_path / "out")), "run", False)
    with scheduler() as address, pytest.raises(EngineError, match="has no workers"):
        run_job(replace(job, scheduler=address), Output(str(tmp_path / "out")), "run", False)
    assert sorted(os.listdir(tmp_path)) == ["bundle", "in"]


@pytest.mark.parametrize(
    ("task", "changes"),
    [("regression", {}), ("binary", {"class_weights": "balanced"}), ("multiclass", {})],
)
def test_two_workers_learn_as_much_as_one_machine(
    task: Task, changes: dict[str, Any], running: Cluster, tmp_path: Path
) -> None:
    from millrace.large import on_dask

    stored, _ = kept(tmp_path, task, **changes)
    here = train(stored, SETTINGS, folds=2, seed=0, threads=1)
    bins = Bins.of(stored.training)
    with on_dask.growing(running.address, bins) as grow:
        model = grow(bins.used, SETTINGS, 0)
        again = grow(bins.used, SETTINGS, 0)
    there = training.score(replace(here.fitted, model=model), stored.holdout)
    assert there[PRIMARY[task]] == pytest.approx(here.holdout[PRIMARY[task]], rel=0.15)
    # Who was connected to whom is no part of a model, nor is anything else that is another each time.
    assert model.booster.model_to_string() == again.booster.model_to_string()
    assert "machines" not in model.booster.model_to_string()


def test_a_worker_that_is_lost_takes_its_rows_along(tmp_path: Path) -> None:
    from millrace.large import on_dask

    stored, _ = kept(tmp_path, "regression")
    bins = Bins.of(stored.training)
    with (
        scheduler() as address,
        worker(address, tmp_path / "1") as first,
        worker(address, tmp_path / "2"),
        on_dask.growing(address, bins) as grow,
    ):
        first.kill()
        first.wait()
        with pytest.raises(EngineError, match=r"did not grow the trees to the end.*the same command goes on"):
            grow(bins.used, SETTINGS, 0)


def test_a_worker_is_killed_and_the_job_ends_as_if_nothing_had_been(
    job: Job, running: Cluster, tmp_path: Path
) -> None:
    said: list[int] = []

    def kill(progress: Progress) -> None:
        if not said:
            running.workers[0].send_signal(signal.SIGKILL)
        said.append(progress.rows)

    manifest = run_job(
        replace(job, scheduler=running.address), Output(str(tmp_path / "there")), "run", False, kill
    )
    assert running.workers[0].wait(timeout=10) == -signal.SIGKILL
    assert running.workers[1].poll() is None
    assert len(said) > 40
    assert manifest.digest == here(job, tmp_path).digest


def test_a_job_whose_workers_are_all_gone_is_ended_by_this_process(
    job: Job, running: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "WORKERS", 1)
    out = tmp_path / "there"

    def kill(progress: Progress) -> None:
        if progress.rows > 100:
            for process in running.workers:
                process.kill()

    with pytest.raises(EngineError, match=r"has no workers any more.*goes on from what is finished"):
        run_job(replace(job, scheduler=running.address), Output(str(out)), "first", False, kill)
    scored: list[int] = []
    manifest = run_job(
        replace(job, engine="local"), Output(str(out)), "second", False, lambda p: scored.append(p.rows)
    )
    assert manifest.runs == ("first", "second")
    assert scored[-1] < manifest.rows.read
    assert manifest.digest == here(job, tmp_path).digest
