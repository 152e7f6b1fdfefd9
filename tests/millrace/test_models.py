"""Every kind of model on every task: what it predicts, what it stores, and that both can be repeated."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from millrace.bundle import FittedModel
from millrace.contract import Problem, Task
from millrace.metrics import PRIMARY, Outcome, compute_metrics
from millrace.models import (
    CandidateSettings,
    TrainingRows,
    base,
    fit_model,
    load_model,
    network,
    skops_files,
)
from millrace.models.base import Model
from millrace.models.grown import GrownModel
from millrace.models.linear import LinearModel, LinearSettings, fit_pipeline
from millrace.promotion import baseline_predictions
from tests.millrace.cases import (
    KINDS,
    TASKS,
    Case,
    fit,
    make_case,
    make_fitted,
    make_problem,
    make_table,
    settings,
)


def saved(model: Model, folder: Path) -> dict[str, bytes]:
    """What a model writes, by file name."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows_of(problem: Problem, table: pd.DataFrame) -> TrainingRows:
    """A table made ready for fitting."""
    return TrainingRows.of(table, problem)


def test_predictions_have_the_shape_of_the_task(case: Case, fitted: FittedModel) -> None:
    predicted = fitted.predict(case.table)
    classes = len(case.problem.classes)
    assert predicted.shape == ((len(case.table), classes) if classes else (len(case.table),))
    assert predicted.dtype == np.float64
    assert np.isfinite(predicted).all()
    if classes:
        assert (predicted >= 0).all()
        np.testing.assert_allclose(predicted.sum(axis=1), 1)


def test_something_is_learnt(case: Case, fitted: FittedModel) -> None:
    task, target = case.problem.task, case.rows.target
    baseline = baseline_predictions(task, target, len(target), len(case.problem.classes))
    ours, simple = (
        compute_metrics(Outcome(case.problem, target, p))[PRIMARY[task]]
        for p in (fitted.predict(case.table), baseline)
    )
    assert ours < 0.8 * simple


def test_a_loaded_model_predicts_the_same_bits(case: Case, fitted: FittedModel, tmp_path: Path) -> None:
    saved(fitted.model, tmp_path)
    loaded = load_model(fitted.model.kind, tmp_path, case.problem.task, case.state)
    strange = np.vstack([case.rows.matrix, np.full((1, 5), np.nan), np.full((1, 5), 1e6)])
    strange[-1, 2] = 2
    assert loaded.predict(strange).tobytes() == fitted.model.predict(strange).tobytes()


def test_a_loaded_model_is_stored_as_the_same_bytes(case: Case, fitted: FittedModel, tmp_path: Path) -> None:
    first = saved(fitted.model, tmp_path / "first")
    loaded = load_model(fitted.model.kind, tmp_path / "first", case.problem.task, case.state)
    assert saved(loaded, tmp_path / "second") == first


def test_two_fits_store_the_same_bytes(case: Case, kind: str, tmp_path: Path) -> None:
    one, two = (fit(kind, case.rows, seed=3) for _ in range(2))
    assert saved(one, tmp_path / "one") == saved(two, tmp_path / "two")


def test_the_number_of_threads_changes_no_byte(kind: str, tmp_path: Path) -> None:
    rows = make_case("regression").rows
    one, two = (fit(kind, rows, seed=3, threads=threads) for threads in (1, 2))
    assert saved(one, tmp_path / "one") == saved(two, tmp_path / "two")


@pytest.mark.parametrize("drawing", ["random_forest", "hist_boosting", "lightgbm", "network", "blend"])
def test_another_seed_stores_other_bytes(case: Case, drawing: str, tmp_path: Path) -> None:
    one, two = (fit(drawing, case.rows, seed=seed) for seed in (1, 2))
    assert saved(one, tmp_path / "one") != saved(two, tmp_path / "two")


FILES = {"model.txt", "linear.json", "model.safetensors", "model.json", "network.json", "background.npy"}
CHILD = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.millrace.cases import KINDS, make_fitted
for kind in KINDS:
    folder = Path(sys.argv[1]) / kind
    folder.mkdir()
    make_fitted("multiclass", kind).model.save(folder)
"""


def test_another_process_stores_the_same_bytes(tmp_path: Path) -> None:
    # Its memory addresses and the order of its sets are others.
    environment = os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", CHILD, str(tmp_path)], env=environment, check=True)
    for kind in KINDS:
        ours = saved(make_fitted("multiclass", kind).model, tmp_path / "ours" / kind)
        assert ours == {name: (tmp_path / kind / name).read_bytes() for name in ours}


def test_files_are_no_pickles(fitted: FittedModel, tmp_path: Path) -> None:
    for name, content in saved(fitted.model, tmp_path).items():
        assert Path(name).name in FILES
        assert b"sklearn.tree._classes\n" not in content
        assert not content.startswith(b"\x80")


ALONE = """
import sys
from pathlib import Path
import numpy as np
from millrace.bundle import FittedModel
from millrace.scoring import Scorer
for task in ("regression", "binary", "multiclass"):
    for kind in ("linear", "random_forest", "hist_boosting", "lightgbm"):
        folder = Path(sys.argv[1]) / task / kind
        fitted = FittedModel.load(folder)
        inputs = np.load(folder / "inputs.npy")
        scorer = Scorer(fitted)
        found = np.concatenate([scorer.predict(inputs[:1]), scorer.predict(inputs[1:])])
        np.testing.assert_allclose(found, np.load(folder / "expected.npy"), rtol=1e-12, atol=1e-14)
# LightGBM itself imports more of scikit-learn than this.
imported = {"skops", "torch", "sklearn.ensemble", "sklearn.linear_model"} & set(sys.modules)
assert not imported, imported
"""


def test_a_loaded_model_answers_without_scikit_learn(tmp_path: Path) -> None:
    for task in TASKS:
        for kind in ("linear", "random_forest", "hist_boosting", "lightgbm"):
            fitted, folder = make_fitted(task, kind), tmp_path / task / kind
            folder.mkdir(parents=True)
            fitted.save(folder)
            inputs = make_case(task).rows.inputs[:101]
            np.save(folder / "inputs.npy", inputs)
            np.save(folder / "expected.npy", fitted.predict_matrix(fitted.state.expand(inputs)))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", ALONE, str(tmp_path)], env=environment, check=True)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", ["random_forest", "hist_boosting"])
def test_trees_that_answer_otherwise_are_not_stored(task: Task, kind: str, tmp_path: Path) -> None:
    case = make_case(task)
    model = fit(kind, case.rows)
    assert isinstance(model, GrownModel)
    model._trees = fit(kind, case.rows, seed=1).trees  # type: ignore[attr-defined]
    assert set(saved(model, tmp_path)) == {"model.skops"}
    loaded = load_model(kind, tmp_path, task, case.state)
    assert loaded.predict(case.rows.matrix).tobytes() == model.predict(case.rows.matrix).tobytes()


@pytest.mark.parametrize("task", TASKS)
def test_a_linear_model_is_read_from_scikit_learns_own_file(task: Task, tmp_path: Path) -> None:
    case = make_case(task)
    skops_files.save(fit_pipeline(LinearSettings(), case.rows), tmp_path)
    loaded = load_model("linear", tmp_path, task, case.state)
    expected = make_fitted(task, "linear").model.predict(case.rows.matrix)
    assert loaded.predict(case.rows.matrix).tobytes() == expected.tobytes()


def test_a_file_with_another_type_is_refused(case: Case, tmp_path: Path) -> None:
    # Not by every worker that collects this file: it imports all of scikit-learn, and PyTorch.
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    class Harmful:
        pass

    skops.io.dump(Harmful(), tmp_path / "model.skops")
    with pytest.raises(UntrustedTypesFoundException):
        load_model("random_forest", tmp_path, case.problem.task, case.state)


def test_one_row_is_predicted_as_in_the_batch(case: Case, fitted: FittedModel) -> None:
    batch = fitted.model.predict(case.rows.matrix[:30])
    single = np.concatenate([fitted.model.predict(case.rows.matrix[i : i + 1]) for i in range(30)])
    # The linear model's dot product may be summed in another order for one row.
    np.testing.assert_allclose(single, batch, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    "features",
    [
        {"kind": {"type": "category", "categories": ["flat", "house", "boat"], "nullable": True}},
        {"size": {"type": "number", "nullable": True}},
    ],
    ids=["categories only", "numbers only"],
)
def test_a_problem_may_have_one_type_of_column(kind: str, features: dict[str, Any]) -> None:
    rows = rows_of(make_problem(features=features, key=None), make_table(rows=60))
    model = fit(kind, rows)
    assert np.isfinite(model.predict(rows.matrix)).all()


def test_columns_that_teach_nothing_do_no_harm(kind: str) -> None:
    table = make_table(rows=60).assign(size=5.0, kind=None)
    rows = rows_of(make_problem(), table)
    model = fit(kind, rows)
    assert np.isfinite(model.predict(rows.matrix)).all()


@pytest.mark.parametrize(
    "stump",
    [
        settings("lightgbm", 1, num_leaves=2, learning_rate=1, colsample_bytree=1),
        settings("hist_boosting", 1, max_leaf_nodes=2, learning_rate=1, max_features=1),
    ],
    ids=lambda stump: str(stump.kind),
)
def test_categories_have_no_order_for_boosting(stump: CandidateSettings) -> None:
    kinds = np.resize(np.array(["flat", "house", "boat"], dtype=object), 900)
    table = make_table(rows=900).assign(kind=kinds, y=(kinds == "house").astype(float))
    rows = rows_of(make_problem(), table)
    predicted = fit_model(stump, rows, seed=0, threads=1).predict(rows.matrix)
    # One split parts the middle category from both others; no threshold on its code could.
    np.testing.assert_allclose(predicted, table["y"], atol=0.1)


@pytest.mark.parametrize("weights", ["balanced", {"high": 30.0}])
def test_class_weights_move_probabilities_to_the_weighted_class(kind: str, weights: Any) -> None:
    table = make_table("multiclass", rows=400)
    table = table[(table["y"] != "high") | (np.arange(400) % 8 == 0)].reset_index(drop=True)
    chances = []
    for given in (None, weights):
        rows = rows_of(make_problem("multiclass", class_weights=given), table)
        model = fit(kind, rows, size=30)
        chances.append(model.predict(rows.matrix)[:, 2].mean())
    assert chances[1] > 1.2 * chances[0]


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_sample_weight

    rows = rows_of(make_problem("multiclass", class_weights="balanced"), make_table("multiclass"))
    assert rows.weights is not None
    np.testing.assert_allclose(rows.weights, compute_sample_weight("balanced", rows.target))
    named = rows_of(make_problem("multiclass", class_weights={"high": 3}), make_table("multiclass"))
    assert named.weights is not None
    np.testing.assert_array_equal(named.weights, np.where(named.target == 2, 3.0, 1.0))
    assert rows_of(make_problem("multiclass"), make_table("multiclass")).weights is None


@pytest.mark.parametrize("ordered", ["linear", "random_forest", "network"])
def test_categories_have_no_order_for_other_models(ordered: str) -> None:
    kinds = np.resize(np.array(["flat", "house", "boat"], dtype=object), 900)
    table = make_table(rows=900).assign(kind=kinds, y=(kinds == "house").astype(float))
    model = settings(ordered, **({"max_features": 1} if ordered == "random_forest" else {}))
    rows = rows_of(make_problem(), table)
    predicted = fit_model(model, rows, seed=0, threads=1).predict(rows.matrix)
    np.testing.assert_allclose(predicted, table["y"], atol=0.1)


def test_more_categories_than_bins_are_learnt_all_the_same() -> None:
    names = [f"{position:03d}" for position in range(300)]
    features = {"kind": {"type": "category", "categories": names}}
    table = make_table(rows=900).assign(kind=np.resize(np.array(names, dtype=object), 900))
    table["y"] = (table["kind"] > "150").astype(float)
    rows = rows_of(make_problem(features=features, key=None), table)
    predicted = fit("hist_boosting", rows, size=60).predict(rows.matrix)
    assert np.corrcoef(predicted, table["y"])[0, 1] > 0.9


def test_that_a_value_is_missing_can_be_learnt(kind: str) -> None:
    table = make_table(rows=900)
    gone = np.random.default_rng(1).random(900) < 0.3
    for column in ("size", "kind"):
        hidden = table.assign(y=np.where(gone, 5.0, 0.0), **{column: table[column].mask(gone)})
        rows = rows_of(make_problem(), hidden)
        predicted = fit(kind, rows, size=60).predict(rows.matrix)
        assert predicted[gone].mean() > 3.5
        assert predicted[~gone & rows_known(hidden)].mean() < 0.5


def rows_known(table: pd.DataFrame) -> Any:
    """Rows where neither column was missing by itself."""
    return (table["size"].notna() & table["kind"].notna()).to_numpy()


def test_a_handful_of_rows_is_enough_to_fit(kind: str) -> None:
    rows = rows_of(make_problem(), make_table(rows=2))
    predicted = fit(kind, rows).predict(rows.matrix)
    assert np.isfinite(predicted).all()


@pytest.mark.filterwarnings("ignore:invalid value encountered in reduce")
def test_numbers_past_single_precision_are_predicted(kind: str) -> None:
    rows = rows_of(make_problem(), make_table(rows=60).assign(floor=np.tile([0.0, 1e39, -1e39], 20)))
    model = fit(kind, rows)
    assert np.isfinite(model.predict(rows.matrix)).all()


@pytest.mark.parametrize("task", TASKS)
def test_a_network_answers_by_numpy_as_it_learnt_by_torch(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    learnt = []
    run = network._Fit.run

    def kept(fit: network._Fit) -> Any:
        weights = run(fit)
        for name, values in weights.items():
            fit.parameters[name].data.copy_(torch.from_numpy(values))
        with torch.no_grad():
            learnt.append(fit._forward(fit.dense, 0.0).double().numpy())
        return weights

    monkeypatch.setattr(network._Fit, "run", kept)
    rows = make_case(task).rows
    model = fit("network", rows)
    assert isinstance(model, network.NetworkModel)
    expected = learnt[0] * model.weights["spread"] + model.weights["centre"]
    np.testing.assert_allclose(model.raw(rows.matrix), expected, rtol=1e-4, atol=1e-4)


def test_a_network_stops_where_the_rows_held_back_get_no_better(monkeypatch: pytest.MonkeyPatch) -> None:
    epochs = []
    snapshot = network._Fit._snapshot

    def counted(fit: network._Fit) -> Any:
        epochs.append(1)
        return snapshot(fit)

    monkeypatch.setattr(network._Fit, "_snapshot", counted)
    rng = np.random.default_rng(0)
    rows = replace(make_case("regression").rows, target=rng.normal(size=240))
    fit_model(settings("network", epochs=200, patience=2), rows, seed=0, threads=1)
    # Each snapshot after the first is a better validation loss; noise cannot be learnt for long.
    assert len(epochs) < 30


@pytest.mark.parametrize("network", ["network", "neighbour_network"])
def test_without_torch_a_network_is_refused_when_settings_are_read(
    network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "find_spec", lambda _: None)
    with pytest.raises(ValidationError, match=r"needs PyTorch, which is not installed; run `make torch`"):
        settings(network)
    assert settings("linear").kind == "linear"


@pytest.mark.parametrize("network", ["network", "neighbour_network"])
def test_a_network_answers_where_torch_is_not_installed(network: str, tmp_path: Path) -> None:
    fitted = make_fitted("binary", network)
    fitted.save(tmp_path)
    matrix = make_case("binary").rows.matrix
    np.save(tmp_path / "matrix.npy", matrix)
    code = (
        "import sys; sys.modules['torch'] = sys.modules['shap'] = None\n"
        "import numpy as np; from pathlib import Path; from millrace.bundle import FittedModel\n"
        "from millrace.explanation import explain\n"
        "folder = Path(sys.argv[1]); matrix = np.load(folder / 'matrix.npy')\n"
        "fitted = FittedModel.load(folder); explain(fitted, matrix[:2])\n"
        "np.save(folder / 'answers.npy', fitted.predict_matrix(matrix))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "answers.npy"), fitted.predict_matrix(matrix))


@pytest.mark.parametrize("task", TASKS)
def test_a_linear_model_predicts_what_scikit_learn_would(task: Task) -> None:
    model, case = make_fitted(task, "linear").model, make_case(task)
    assert isinstance(model, LinearModel)
    dense = case.state.dense(case.rows.matrix)
    pipeline = fit_pipeline(LinearSettings(), case.rows)
    theirs = pipeline.predict if task == "regression" else pipeline.predict_proba
    np.testing.assert_allclose(model.predict(case.rows.matrix), theirs(dense), rtol=1e-12, atol=1e-14)
