"""Servers of staging killed under a training, and what came of it: for the tests, and as a table.

`python -m tests.faults.outages` (`make faults`) starts a run at each fault, then kills each server at
several steps; with names after it, only `start` or these servers.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millrace import processes
from tests.conftest import Home, make_home
from tests.deploy.running import RunningStaging, running_staging
from tests.faults.refusals import FAULTS, refusal
from tests.forked import Forked

# Two small candidates: these runs are about the servers.
SMALL = (
    "--stack=staging",
    "--set=candidates.random_forest=null",
    "--set=candidates.hist_boosting=null",
    "--set=candidates.lightgbm.n_estimators=10",
    "--set=bootstrap=100",
    "--set=explained_rows=20",
)
START = "start"
# What the servers say of iris: versions, those whose bundle can be fetched and has the digest that the
# registry names, the champion, MLflow runs that never ended, how ZenML's ended, and locks that are left.
STATE = """
import json, os, tempfile
from collections import Counter
from pathlib import Path
from run import _stack
_stack("staging")
os.environ["MLFLOW_TRACKING_USERNAME"] = os.environ["MILLRACE_STAGING_MLFLOW_USER"]
os.environ["MLFLOW_TRACKING_PASSWORD"] = os.environ["MILLRACE_STAGING_MLFLOW_PASSWORD"]
from zenml.client import Client
from millrace.bundle import verify
from millrace.registry import Registry
registry, client = Registry("iris", os.environ["MILLRACE_STAGING_MLFLOW_URL"]), Client()
with tempfile.TemporaryDirectory() as folder:
    versions = registry.versions()
    fetch = lambda version: registry.fetch_bundle(version.version, Path(folder))
    whole = [version.version for version in versions if verify(fetch(version)) == version.digest]
print(json.dumps({
    "versions": [version.version for version in versions],
    "whole": whole,
    "champion": getattr(registry.with_alias("champion"), "version", None),
    "production": [v.name for v in client.list_model_versions(size=1000).items if v.stage == "production"],
    "open_mlflow_runs": len(registry.client.search_runs(
        [e.experiment_id for e in registry.client.search_experiments()], "attributes.status = 'RUNNING'")),
    "runs": Counter(run.status.value for run in client.list_pipeline_runs(size=100).items),
    "models": [model.name for model in client.list_models(size=100).items],
}))
"""


@dataclass(frozen=True)
class Outage:
    """A server killed with SIGKILL as soon as a step begins, and started again `seconds` later."""

    server: str
    step: str
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What came of a run: exit code, what it took, its last line, how many steps it took from the cache."""

    code: int
    seconds: float
    said: str
    cached: int


def client(staging: RunningStaging, path: Path, **variables: str) -> Home:
    """An empty home, as of another machine, whose processes find the servers by their environment."""
    home = make_home(path)
    return Home(home.path, {**home.environment, **staging.environment, **variables})


def train(staging: RunningStaging, home: Home, *settings: str, outage: Outage | None = None) -> Outcome:
    """Train iris on staging, through an outage if one is given."""
    began = time.monotonic()
    process = home.start(*SMALL, *settings)
    told = _until(process, outage.step) if outage else ""
    with ThreadPoolExecutor(1) as pool:
        if outage:
            kill(staging, outage.server)
            back = pool.submit(_start_later, staging, outage)
        _, rest = process.communicate(timeout=400)
        took = time.monotonic() - began
        if outage:
            back.result()
    told += rest
    lines = told.strip().splitlines()
    return Outcome(process.returncode, took, lines[-1] if lines else "", told.count("taken from the cache"))


def kill(staging: RunningStaging, server: str) -> None:
    """kill -9 a server and its workers, which would go on answering."""
    for process in processes.running(staging.servers[server].record):
        process.kill()


def state(home: Home) -> dict[str, Any]:
    """What the servers say; see STATE."""
    return dict(home.ask(STATE))


def assert_whole(found: dict[str, Any]) -> None:
    """No version without its bundle, one champion that is one of them, nothing left open or locked."""
    assert found["whole"] == found["versions"]
    assert found["champion"] in found["versions"]
    assert found["production"] == [f"v{found['champion']}"]
    assert found["open_mlflow_runs"] == 0
    assert set(found["runs"]) <= {"completed", "failed"}
    assert found["models"] == ["iris"]


def _until(process: Forked, step: str) -> str:
    """Read a run's progress until it says that the step has begun."""
    told = ""
    for line in process.stderr:
        told += line
        if line == f"  {step} ...\n":
            return told
    raise AssertionError(f"{step} never began: {told}")


def _start_later(staging: RunningStaging, outage: Outage) -> None:
    time.sleep(outage.seconds)
    staging.start(outage.server)


def _matrix() -> Iterable[Outage]:
    """Every server at steps that use it: while it is only read, while artifacts or versions are written."""
    for step in ("clean", "fit_best", "register", "promote"):
        for server in ("s3", "zenml", "mariadb"):
            yield Outage(server, step, 12)
    for step in ("register", "promote"):
        for server in ("mlflow", "postgresql"):
            yield Outage(server, step, 12)
    yield Outage("ceph-osd", "fit_best", 12)
    # Longer than any client waits.
    yield Outage("s3", "fit_best", 120)
    yield Outage("mlflow", "register", 120)
    yield Outage("postgresql", "register", 120)
    yield Outage("zenml", "fit_best", 120)


def main() -> int:
    """Print tables of refusals and outcomes; 1 if one of them is not as it is to be."""
    only = sys.argv[1:]
    bad = 0
    with running_staging() as staging, tempfile.TemporaryDirectory() as folder:
        home = client(staging, Path(folder) / "home")
        if not only or START in only:
            bad += _refusals(staging, home)
        if only != [START]:
            bad += _outages(staging, home, only)
    return 1 if bad else 0


def _refusals(staging: RunningStaging, home: Home) -> int:
    """Start a training at each fault. Returns how many were not refused, or wrote something."""
    bad = 0
    print(f"{'at the start':<30}{'exit':>4}  {'written':<9}found; remedy", flush=True)
    for name, fault in FAULTS.items():
        code, said, wrote = refusal(staging, home, fault)
        bad += code != 2 or wrote or not said
        print(f"{name:<30}{code:>4}  {'SOMETHING' if wrote else 'nothing':<9}{said}", flush=True)
    return bad


def _outages(staging: RunningStaging, home: Home, only: list[str]) -> int:
    """Train through each outage, or those of some servers.

    Returns how many runs neither finished nor went on, or left halves.
    """
    bad = 0
    print(f"\n{'killed':<12}{'at':<11}{'away':>6}  {'exit':>4}{'after':>7}  outcome", flush=True)
    for number, outage in enumerate(_matrix()):
        if only and outage.server not in only:
            continue
        # So that no step from `clean` on is taken from the cache, and each run registers a version.
        changed = {
            "seed": number,
            "candidates.linear.alpha": 1 + number,
            "bad_rows_limit": 0.05 + number / 1000,
        }
        settings = [f"--set={key}={value}" for key, value in changed.items()]
        found = train(staging, home, *settings, outage=outage)
        text = "finished" if found.code == 0 else found.said
        if found.code:
            again = train(staging, home, *settings)
            text += f" Again: exit {again.code}, {again.cached} steps taken from the cache."
            bad += found.code != 2 or again.code != 0
        try:
            assert_whole(state(home))
        except AssertionError as error:
            text += f" NOT WHOLE: {error}"
            bad += 1
        print(
            f"{outage.server:<12}{outage.step:<11}{outage.seconds:>4.0f} s  {found.code:>4}"
            f"{found.seconds:>5.0f} s  {text}",
            flush=True,
        )
    return bad


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(main())
