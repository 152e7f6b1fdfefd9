"""Small bundles to serve: one with a column of every type, one of iris."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from millrace.bundle import (
    CARD,
    CARD_MARKDOWN,
    EXPLANATION,
    METRICS,
    PROVENANCE,
    REFERENCE,
    SELFTEST,
    SPLIT,
    Bundle,
    FittedModel,
    load_bundle,
    seal,
    write_json,
)
from millrace.card import PLACE
from millrace.contract import Problem, load_problem, parse_problem
from millrace.intervals import fit_intervals
from millrace.models import TrainingRows, fit_model
from millrace.models.boosting import LightGBMSettings
from millrace.selection import cross_validate, make_folds, read_out_of_fold
from millrace.splitting import split

ROOT = Path(__file__).parent.parent.parent
HOUSES = {
    "name": "served_houses",
    "title": "Houses with a column of every type",
    "task": "regression",
    "source": "none",
    "synthetic": True,
    "key": "parcel",
    "target": {"name": "price", "type": "number", "unit": "USD"},
    "features": {
        "parcel": {"type": "integer"},
        "area (m2)": {"type": "number", "range": [10, 1000], "unit": "m2", "meaning": "living area"},
        "height": {"type": "number", "range": [None, 12.5], "nullable": True},
        "rooms": {"type": "integer", "range": [1, 30]},
        "floor": {"type": "integer", "nullable": True},
        "district": {"type": "category", "categories": ["north", "south", "a \"b\""]},
        "heating": {"type": "category", "categories": ["gas", "wood"], "nullable": True},
        "garden": {"type": "boolean", "nullable": True},
        "new": {"type": "boolean"},
        "sold": {"type": "datetime", "nullable": True},
        "deed": {"type": "id"},
    },
}  # fmt: skip


@pytest.fixture(scope="session")
def houses() -> Problem:
    return parse_problem(HOUSES)


@pytest.fixture(scope="session")
def houses_folder(houses: Problem, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed bundle of `houses`."""
    rng = np.random.default_rng(0)
    rows = 200
    table = pd.DataFrame(
        {
            "parcel": np.arange(rows, dtype=float),
            "deed": [f"deed {row}" for row in range(rows)],
            "area (m2)": rng.uniform(10, 1000, rows),
            "height": rng.uniform(2, 12, rows),
            "rooms": rng.integers(1, 30, rows).astype(float),
            "floor": rng.integers(-1, 9, rows).astype(float),
            "district": rng.choice(houses.features["district"].categories, rows),
            "heating": rng.choice(houses.features["heating"].categories, rows),
            "garden": rng.choice([True, False], rows),
            "new": rng.choice([True, False], rows),
            "sold": np.datetime64("2020-01-01", "us") + rng.integers(0, 10**14, rows),
        }
    )
    table["price"] = 1000 * table["area (m2)"] + 5000 * table["new"]
    return _sealed(houses, table, tmp_path_factory.mktemp("houses"))


@pytest.fixture(scope="session")
def houses_bundle(houses_folder: Path) -> Bundle:
    return load_bundle(houses_folder)


@pytest.fixture(scope="session")
def iris_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed bundle of the problem `iris`, trained on made-up flowers."""
    problem = load_problem("iris", ROOT / "configs" / "problems")
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.uniform(1, 8, (150, 4)), columns=list(problem.inputs))
    table["target"] = np.array(problem.classes)[(table["petal length (cm)"] // 2.7).astype(int)]
    return _sealed(problem, table, tmp_path_factory.mktemp("iris"))


@pytest.fixture(scope="session")
def iris_bundle(iris_folder: Path) -> Bundle:
    return load_bundle(iris_folder)


@pytest.fixture(scope="module")
def bentoml_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty BENTOML_HOME; BentoML reads the variable once a process, so what it remembers is put aside."""
    from bentoml._internal.configuration.containers import BentoMLContainer
    from simple_di import sentinel
    from simple_di.providers import SingletonFactory

    home = tmp_path_factory.mktemp("bentoml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(home))
        patch.setenv("BENTOML_DO_NOT_TRACK", "1")
        for provider in vars(type(BentoMLContainer)).values():
            if isinstance(provider, SingletonFactory):
                patch.setattr(provider, "_cache", sentinel)
        yield home


def _sealed(problem: Problem, table: pd.DataFrame, folder: Path) -> Path:
    rows = TrainingRows.of(table, problem)
    candidate = LightGBMSettings(n_estimators=5)
    model = fit_model(candidate, rows, seed=0, threads=1)
    _, out_of_fold = cross_validate(
        "one", candidate, rows, make_folds(table, problem, 3, 0), seed=0, threads=1
    )
    intervals = fit_intervals(read_out_of_fold(out_of_fold, problem), out_of_fold["row"].to_numpy())
    fitted = FittedModel(problem, rows.state, model, intervals=intervals)
    fitted.save(folder)
    tested = table[list(problem.inputs)].head(3)
    rows_sent = [
        {name: value.isoformat() if isinstance(value, pd.Timestamp) else value for name, value in row.items()}
        for row in tested.to_dict("records")
    ]
    write_json(folder / SELFTEST, {"rows": rows_sent, "predictions": fitted.predict(tested).tolist()})
    sample = table[[*problem.inputs, problem.target.name]]
    sample.assign(**fitted.columns(fitted.predict(sample))).to_parquet(folder / REFERENCE)
    for name in (CARD, CARD_MARKDOWN):
        (folder / name).write_text(f"The card of {problem.name}, {name}\n\n{PLACE}\n")
    interval = {"value": 0.5, "low": 0.4, "high": 0.6}
    evaluation = {
        "metric_name": "rmse",
        "rows": 40,
        "metrics": {"rmse": interval},
        "baseline": {},
        "slices": [],
    }
    write_json(folder / EXPLANATION, [{"feature": name, "value": 1.0} for name in rows.state.names])
    write_json(folder / SPLIT, split(table, problem)[2].model_dump(mode="json"))
    write_json(folder / METRICS, {"evaluation": evaluation, "leaderboard": []})
    provenance = {
        "created": "2025-01-01T00:00:00+00:00",
        "git_revision": None,
        "data": {"origin": "made up", "digest": "0" * 64, "rows": len(table)},
        "run": {"id": "1", "name": "training"},
        "seed": 0,
        "libraries": {},
    }
    write_json(folder / PROVENANCE, provenance)
    seal(folder)
    return folder
