"""The network that looks training rows up: what it may see, what it stores, what it answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from millrace.contract import Problem, Task
from millrace.errors import UserError
from millrace.metrics import PRIMARY, Outcome, compute_metrics
from millrace.models import TrainingRows, fit_model, load_model
from millrace.models.neighbour_network import (
    Lookup,
    NeighbourNetworkModel,
    NeighbourNetworkSettings,
    _answer,
    _forward,
)
from millrace.promotion import baseline_predictions
from tests.millrace.cases import TASKS, Case, make_case, make_problem, make_table

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
SMALL: dict[str, Any] = {"members": 2, "epochs": 20, "width": 32, "token": 8, "neighbours": 6, "batch": 64}


def fit(rows: TrainingRows, seed: int = 0, **changes: Any) -> NeighbourNetworkModel:
    settings = NeighbourNetworkSettings(**{**SMALL, **changes})
    model = fit_model(settings, rows, seed=seed, threads=1)
    assert isinstance(model, NeighbourNetworkModel)
    return model


@pytest.fixture(scope="module", params=TASKS)
def fitted(request: pytest.FixtureRequest) -> tuple[Case, NeighbourNetworkModel]:
    case = make_case(request.param)
    return case, fit(case.rows)


def test_something_is_learnt(fitted: tuple[Case, NeighbourNetworkModel]) -> None:
    case, model = fitted
    task: Task = case.problem.task
    new = make_table(task, seed=1)
    rows = TrainingRows.of(new, case.problem)
    predicted = model.predict(case.state.transform(new))
    if task != "regression":
        np.testing.assert_allclose(predicted.sum(axis=1), 1)
    baseline = baseline_predictions(task, case.rows.target, len(new), len(case.problem.classes))
    ours, simple = (
        compute_metrics(Outcome(case.problem, rows.target, p))[PRIMARY[task]] for p in (predicted, baseline)
    )
    assert ours < 0.9 * simple


def test_a_loaded_model_answers_and_is_stored_the_same(
    fitted: tuple[Case, NeighbourNetworkModel], tmp_path: Path
) -> None:
    case, model = fitted
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    model.save(first)
    loaded = load_model(model.kind, first, case.problem.task, case.state)
    loaded.save(second)
    strange = np.vstack([case.rows.matrix, np.full((1, 5), np.nan), np.full((1, 5), 1e6)])
    strange[-1, 2] = 2
    assert loaded.predict(strange).tobytes() == model.predict(strange).tobytes()
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()


def test_a_row_is_answered_as_in_a_batch(fitted: tuple[Case, NeighbourNetworkModel]) -> None:
    case, model = fitted
    matrix = case.rows.matrix[:20]
    single = np.concatenate([model.predict(matrix[[i]]) for i in range(len(matrix))])
    np.testing.assert_allclose(single, model.predict(matrix), rtol=1e-9, atol=1e-12)
    assert len(model.predict(matrix[:0])) == 0


def test_numpy_answers_what_torch_learnt(fitted: tuple[Case, NeighbourNetworkModel]) -> None:
    case, model = fitted
    lookup = model.lookup
    scores, points = lookup.place(case.rows.matrix)
    near = lookup.nearest(points, 6)
    given = scores, lookup.tokens(scores, points, near), lookup.tensors["targets"][near].astype(float)
    for weights in model.members:
        exact = {name: values.astype(float) for name, values in weights.items()}
        tensors = [{n: torch.tensor(v) for n, v in exact.items()}, *map(torch.tensor, given)]
        learnt = _forward(*tensors, dropout=0, neighbour_dropout=0, generator=torch.Generator()).numpy()
        np.testing.assert_allclose(_answer(exact, *given), learnt, rtol=1e-9, atol=1e-9)


def test_the_same_seed_learns_the_same_weights_and_another_others() -> None:
    rows = make_case("regression").rows
    first, same, other = (fit(rows, seed, epochs=1).members[0]["output"] for seed in (0, 0, 1))
    assert (first == same).all()
    assert (first != other).any()


def test_no_row_is_taught_by_itself() -> None:
    case = make_case("regression")
    taught, near = Lookup.learn({}, case.rows).nearest_others(case.rows, 6)
    assert (taught == np.arange(len(case.table))).all()
    assert (near != taught[:, None]).all()


def test_rows_at_one_place_do_not_teach_themselves() -> None:
    problem = make_problem()
    table = make_table().assign(size=1.0)
    rows = TrainingRows.of(table, problem)
    taught, near = Lookup.learn({"size": 1.0}, rows).nearest_others(rows, 6)
    assert near.shape == (len(table), 6)
    assert (near != taught[:, None]).all()


def split_by(by: str, column: str) -> Problem:
    return make_problem(split={"by": by, "column": column})


def test_no_row_is_taught_by_its_own_group() -> None:
    table, problem = make_table(), split_by("group", "floor")
    rows = TrainingRows.of(table, problem)
    taught, near = Lookup.learn({}, rows).nearest_others(rows, 6)
    floors = table["floor"].to_numpy()
    assert len(taught)
    assert (floors[near] != floors[taught][:, None]).all()


def test_no_row_is_taught_by_a_later_one() -> None:
    table = make_table()
    table["built"] = table["built"].fillna(table["built"].min())
    features = make_problem().model_dump(mode="json")["features"]
    features["built"]["nullable"] = False
    problem = make_problem(split={"by": "time", "column": "built"}, features=features)
    rows = TrainingRows.of(table, problem)
    taught, near = Lookup.learn({}, rows).nearest_others(rows, 6)
    built = table["built"].to_numpy()
    assert len(taught)
    assert (built[near] <= built[taught][:, None]).all()


def test_of_labels_by_chance_nothing_is_learnt() -> None:
    """A network that saw a row's own target while learning would repeat it when it meets the row again."""
    case = make_case("regression")
    table = case.table.assign(y=np.random.default_rng(0).permutation(case.table["y"]))
    rows = TrainingRows.of(table, case.problem)
    error = np.sqrt(np.mean((fit(rows, members=1, epochs=40).predict(rows.matrix) - rows.target) ** 2))
    assert error > 0.6 * rows.target.std()


def test_an_unknown_coordinate_is_named() -> None:
    rows = make_case("regression").rows
    with pytest.raises(UserError, match=r"Unknown column of numbers 'sise'\. Did you mean 'size'"):
        fit(rows, by={"sise": 1.0})
    with pytest.raises(UserError, match="'kind'"):
        fit(rows, by={"kind": 1.0})


def test_weights_are_positive() -> None:
    with pytest.raises(ValidationError, match="above 0"):
        NeighbourNetworkSettings(by={"size": 0.0})
