"""The bundle as MLflow calls it: answers and probabilities under names of their own."""

import dataclasses

import numpy as np
import pandas as pd

from millrace.bundle import Bundle
from millrace.pyfunc import BundleModel, signature
from tests.millrace.cases import Case, make_case, make_fitted


def asked(case: Case, threshold: float = 0.5) -> tuple[BundleModel, pd.DataFrame]:
    """A model of the case, and its table without target."""
    fitted = dataclasses.replace(make_fitted(case.problem.task, "lightgbm"), threshold=threshold)
    bundle = Bundle(folder=None, digest="0", fitted=fitted)  # type: ignore[arg-type]
    return BundleModel(bundle), case.table.drop(columns="y")


def test_the_output_is_that_of_the_signature(case: Case) -> None:
    model, table = asked(case)
    found = model.predict(table)
    schema = signature(case.problem).outputs
    if not case.problem.classes:
        np.testing.assert_array_equal(found, model.bundle.fitted.predict(table))
        assert not schema.has_input_names()
        return
    assert list(found.columns) == schema.input_names()
    assert found.columns[1:].tolist() == [f"_probability_{name}" for name in case.problem.classes]
    np.testing.assert_array_equal(found.iloc[:, 1:], model.bundle.fitted.predict(table))
    likeliest = found.iloc[:, 1:].idxmax(axis=1).str.removeprefix("_probability_")
    assert (found["_prediction"] == likeliest).mean() > 0.99


def test_the_label_follows_the_threshold_and_the_probabilities_do_not() -> None:
    (model, table), (plain, _) = asked(make_case("binary"), 0.3), asked(make_case("binary"))
    found, before = model.predict(table), plain.predict(table)
    pd.testing.assert_frame_equal(found.iloc[:, 1:], before.iloc[:, 1:])
    assert ((found["_prediction"] == "true") == (found["_probability_true"] >= 0.3)).all()
    assert (found["_prediction"] != before["_prediction"]).any()
