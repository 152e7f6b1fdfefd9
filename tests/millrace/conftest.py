"""Fixtures of the domain's tests: a small problem per task, and a model per task and kind."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from millrace.bundle import FittedModel
from tests.millrace.cases import KINDS, TASKS, Case, make_case, make_fitted

ROOT = Path(__file__).parents[2]
HOUSING = ROOT.parent / "shared" / "data" / "california_housing.csv"

# Slow machines are not a defect; the same examples in every run are worth more than new ones.
settings.register_profile(
    "millrace",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=40,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("millrace")


@pytest.fixture(params=TASKS)
def case(request: pytest.FixtureRequest) -> Case:
    """Each task's problem and table."""
    return make_case(request.param)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of model."""
    return str(request.param)


@pytest.fixture
def fitted(case: Case, kind: str) -> FittedModel:
    """Each kind of model, fitted on each task."""
    return make_fitted(case.problem.task, kind)


@pytest.fixture(scope="session")
def problems() -> Path:
    """The folder of the problems that Millrace ships."""
    return ROOT / "configs" / "problems"


@pytest.fixture(scope="session")
def housing() -> Path:
    """California Housing as CSV, which is not part of the repository."""
    if not HOUSING.is_file():
        pytest.skip(f"{HOUSING.name} is not beside the repository, in ../shared/data")
    return HOUSING
