"""An isolated home for each test: ZenML store, MLflow, Bentos, copied from one made by a real run."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.forked import Forked

if TYPE_CHECKING:
    from tests.deploy.running import RunningStaging

# Before anything loads OpenMP; see stacks/environment.py.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"
# Small models: these tests are about the pipeline, not about accuracy.
QUICK = (
    "--set=candidates.random_forest=null",
    "--set=candidates.hist_boosting.max_iter=10",
    "--set=candidates.lightgbm.n_estimators=30",
    "--set=bootstrap=200",
    "--set=explained_rows=50",
)
# Of what can be trained the least: ZenML prepares all steps before it runs the first.
FEWEST = (*QUICK, *(f"--set=candidates.{name}=null" for name in ("linear", "hist_boosting")))
# Files that stay with one worker, for the servers that they start; every other file may be with any.
TOGETHER = {
    # In this order: before any training, the servers' logs hold no key.
    "staging": ("tests/deploy/test_staging.py", "tests/faults/test_outages.py"),
    "cloud": tuple(f"tests/targets/test_{name}.py" for name in ("applied", "ecs", "lambda")),
    "stacks": tuple(
        f"tests/stacks/test_{name}.py" for name in ("artifacts", "checks", "lease", "staging", "transfer")
    ),
}
BENTOML_PLACES = (
    *("bentoml_home", "tmp_bento_store_dir", "bento_store_dir", "model_store_dir"),
    *("bento_store", "model_store"),
)
VARIABLES = ("MILLRACE_HOME", "ZENML_CONFIG_PATH", "BENTOML_HOME")
# MLflow's versions and aliases, ZenML's stages by version, and how many runs ended how.
STATE = """
import json
from collections import Counter
from zenml.client import Client
from millrace.registry import CHALLENGER, CHAMPION, Registry
from stacks.environment import home
registry, client = Registry("iris", f"sqlite:///{home()}/store/mlflow.db"), Client()
alias = lambda name: getattr(registry.with_alias(name), "version", None)
print(json.dumps({
    "versions": {version.version: version.digest for version in registry.versions()},
    "champion": alias(CHAMPION),
    "challenger": alias(CHALLENGER),
    "stages": {v.name: v.stage for v in client.list_model_versions(model="iris").items},
    "open_mlflow_runs": len(registry.client.search_runs(
        [e.experiment_id for e in registry.client.search_experiments()], "attributes.status = 'RUNNING'")),
    "runs": Counter(run.status.value for run in client.list_pipeline_runs(size=100).items),
}))
"""


class Together(LoadScopeScheduling):
    """Gives a worker whole files, and those of `TOGETHER` with one another."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((name for name, files in TOGETHER.items() if file in files), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """Of pytest-xdist: who gives tests to workers."""
    return Together(config, log)


@dataclass(frozen=True)
class Home:
    """A state folder and the environment that points a process at it."""

    path: Path
    environment: dict[str, str] = field(repr=False)

    def python(self, *arguments: str) -> Forked:
        """Start a script or `-c` code in the repository with this home."""
        return Forked(arguments, self.environment, ROOT)

    def ask(self, code: str) -> Any:
        """Run code with this home's stores and return the JSON it prints last."""
        prepared = f"from stacks import environment\nenvironment.prepare()\n{code}"
        out, err = self.python("-c", prepared).communicate(timeout=120)
        assert out, err
        return json.loads(out.splitlines()[-1])

    def state(self) -> dict[str, Any]:
        """What the stores say of iris, asked in a new process: this one would see stale databases."""
        return dict(self.ask(STATE))

    def start(self, *arguments: str, problem: str = "iris") -> Forked:
        """Start the training command."""
        return self.python(*training(problem), *arguments)

    def train(self, *arguments: str, problem: str = "iris") -> "subprocess.CompletedProcess[str]":
        """Run the training command with small models until it ends."""
        process = self.start(*QUICK, *arguments, problem=problem)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def summary(self, *arguments: str, problem: str = "iris") -> dict[str, Any]:
        """Train, expect success, and return the JSON summary."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "summary.json"
            done = self.train("--summary", str(path), *arguments, problem=problem)
            assert done.returncode == 0, done.stderr
            summary: dict[str, Any] = json.loads(path.read_text())
            return summary


def training(problem: str) -> tuple[str, ...]:
    """The training command, without settings."""
    return "run.py", "--pipeline", "training", "--problem", problem


def forget_object_stores() -> None:
    """Drop open file systems: s3fs knows them by their arguments, not by the environment's server."""
    from s3fs import S3FileSystem

    S3FileSystem.clear_instance_cache()


def make_home(path: Path) -> Home:
    """An empty home."""
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return Home(path, {**environment, "MILLRACE_HOME": str(path)})


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Path]:
    """A home after one training of iris, with a champion, and a copy of it to go back to."""
    folder = tmp_path_factory.mktemp("trained")
    home = make_home(folder / "state")
    if os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0":
        # As a user has it: by an interpreter that has imported nothing yet. For one worker that will do.
        command = [sys.executable, *training("iris"), *QUICK]
        subprocess.run(command, cwd=ROOT, env=home.environment, check=True)
    else:
        home.summary()
    shutil.copytree(home.path, folder / "copy")
    return home, folder / "copy"


@pytest.fixture
def home(trained: tuple[Home, Path]) -> Home:
    """The trained home as it was, for commands in processes of their own.

    At the same path each time: ZenML and MLflow keep absolute paths to their artifacts.
    """
    trained_home, copy = trained
    shutil.rmtree(trained_home.path)
    shutil.copytree(copy, trained_home.path)
    return trained_home


@pytest.fixture(scope="session")
def staging() -> "Iterator[RunningStaging]":
    """A whole staging, started once for the files of `TOGETHER`."""
    from tests.deploy.running import running_staging

    with running_staging() as started:
        yield started


@pytest.fixture
def opened(trained: tuple[Home, Path], tmp_path: Path) -> Iterator[Home]:
    """A copy of the trained home for this process: ZenML's client and our own `run.main` use it."""
    with opened_copy(trained[1], tmp_path / "state") as home:
        yield home


@contextmanager
def opened_copy(of: Path, path: Path) -> Iterator[Home]:
    """Copy a home and make the copy this process' own for a while."""
    from bentoml._internal.configuration.containers import BentoMLContainer
    from simple_di import sentinel
    from zenml.client import Client
    from zenml.config.global_config import GlobalConfiguration
    from zenml.stack.stack import _STACK_CACHE
    from zenml.utils import source_utils

    from stacks import environment, quickstart

    quickstart.apply()
    source_utils.set_custom_source_root(str(ROOT))
    home = make_home(path)
    shutil.copytree(of, home.path)
    with pytest.MonkeyPatch.context() as patch:
        for name in (*VARIABLES, "ZENML_ACTIVE_STACK_ID"):
            # First set, so that what is set in the meantime goes again, too.
            patch.setenv(name, "")
            patch.delenv(name)
        patch.setenv("MILLRACE_HOME", str(home.path))
        for name, value in environment.variables().items():
            patch.setenv(name, value)
        # The configuration names the database by its absolute path: that of the home it was copied from.
        database = home.path / "zenml" / "local_stores" / "default_zen_store" / "zenml.db"
        assert database.is_file()
        patch.setenv("ZENML_STORE_URL", f"sqlite:///{database}")
        GlobalConfiguration._reset_instance()
        Client._reset_instance()
        # Copies share the stack's id, by which ZenML remembers where its artifacts are.
        _STACK_CACHE.clear()
        # From its first use on BentoML remembers its home.
        for name in BENTOML_PLACES:
            patch.setattr(getattr(BentoMLContainer, name), "_cache", sentinel)
        yield home
    GlobalConfiguration._reset_instance()
    Client._reset_instance()
