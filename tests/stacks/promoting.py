"""Commands of run.py, several in a process, and model versions that cost no training."""

import json
from dataclasses import dataclass
from typing import Any

from tests.conftest import Home

# Before what `Home.ask` runs, to ask the servers and not the local stores.
ON_STAGING = "from run import _stack\n_stack('staging')\n"
# Several commands in one process: each would pay some seconds for imports.
COMMANDS = """
import contextlib, io, json, sys
import run
done = []
for line in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run.main(line)
    done.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(done))
"""
# The bundle of iris with another contract, sealed and registered like a trained one.
ADD = """
import json, shutil, tempfile
from pathlib import Path
import mlflow
import pandas as pd
from millrace.bundle import CONTRACT, REFERENCE, load_bundle, read_json, seal, write_json
from millrace.registry import DIGEST_TAG, Registry
from stacks.environment import home
from steps.model_version import log_model
uri = f"sqlite:///{home()}/store/mlflow.db"
mlflow.set_tracking_uri(uri)
mlflow.set_experiment("iris")
versions = []
for change in CHANGES:
    forged = change.pop("digest", None)
    folder = Path(tempfile.mkdtemp())
    shutil.copytree(Registry("iris", uri).fetch_bundle("1", home()), folder, dirs_exist_ok=True)
    contract = read_json(folder / CONTRACT)
    contract["target"].update(change.pop("target", {}))
    write_json(folder / CONTRACT, {**contract, **change})
    seal(folder)
    bundle = load_bundle(folder)
    registry = Registry(bundle.problem.name, uri)
    with mlflow.start_run() as run:
        model = log_model(bundle, pd.read_parquet(folder / REFERENCE))
    made = registry.register(model, run.info.run_id, {DIGEST_TAG: forged or bundle.digest}, "")
    versions.append([made.version, made.digest, made.run_id])
    if made.version == "1":
        registry.promote("1")
print(json.dumps(versions))
"""


@dataclass(frozen=True)
class Done:
    """How a command ended; its output without the breaks of lines."""

    code: int
    out: str
    err: str


def commands(home: Home, *lines: str, problem: str) -> list[Done]:
    """Run promotion once for each line of arguments."""
    return run(home, *(f"--pipeline promotion --problem {problem} {line}" for line in lines))


def run(home: Home, *lines: str) -> list[Done]:
    """Run run.py's main once for each line of arguments, on one stack."""
    split = json.dumps([line.split() for line in lines])
    out, err = home.python("-c", COMMANDS, split).communicate(timeout=300)
    assert out, err
    found = json.loads(out.splitlines()[-1])
    return [Done(code, " ".join(out.split()), " ".join(err.split())) for code, out, err in found]


def add_versions(home: Home, *changes: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Register bundles in the local stack, each iris with a changed contract; `digest` is a false one.

    Returns version, digest and MLflow run of each. The first version of a name becomes its champion.
    """
    versions: list[tuple[str, str, str]] = home.ask(f"CHANGES = {list(changes)!r}\n{ADD}")
    return versions
