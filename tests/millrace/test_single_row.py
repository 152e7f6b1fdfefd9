"""One row by LightGBM's own single-row calls: the bits of its `predict`, errors said, nothing left behind."""

import gc
import weakref
from typing import Any

import lightgbm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace import single_row
from millrace.models.boosting import LightGBMModel
from millrace.single_row import SingleRow
from tests.millrace.cases import Case, make_case, make_fitted


def booster_of(case: Case) -> lightgbm.Booster:
    model = make_fitted(case.problem.task, "lightgbm").model
    assert isinstance(model, LightGBMModel)
    return model.booster


def test_a_row_is_answered_to_the_bit(case: Case) -> None:
    booster, matrix = booster_of(case), case.rows.matrix
    single = SingleRow(booster)
    expected = booster.predict(matrix).reshape(len(matrix), -1)
    assert np.concatenate([single(row[None]) for row in matrix]).tobytes() == expected.tobytes()


@given(st.lists(st.one_of(st.just(np.nan), st.floats(-1e300, 1e300)), min_size=5, max_size=5))
def test_whatever_the_row(row: list[float]) -> None:
    booster, matrix = booster_of(make_case("regression")), np.array([row])
    assert SingleRow(booster)(matrix).tobytes() == booster.predict(matrix).tobytes()


def test_an_answer_stays_when_another_row_is_asked(case: Case) -> None:
    single, (one, other) = SingleRow(booster_of(case)), case.rows.matrix[:2]
    first = single(one[None])
    kept = first.copy()
    single(other[None])
    np.testing.assert_array_equal(first, kept)


def test_a_row_of_other_columns_is_refused() -> None:
    single = SingleRow(booster_of(make_case("regression")))
    with pytest.raises(ValueError, match="could not broadcast"):
        single(np.zeros((1, 4)))


def test_what_lightgbm_refuses_is_raised_in_its_words() -> None:
    class Narrow(lightgbm.Booster):
        def num_feature(self) -> int:
            return 4

    text = booster_of(make_case("regression")).model_to_string()
    with pytest.raises(lightgbm.basic.LightGBMError, match="number of features in data \\(4\\)"):
        SingleRow(Narrow(model_str=text))


def test_the_handle_is_freed_once_and_the_booster_lives_until_then(monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[int] = []
    free = single_row._free

    def counted(library: Any, handle: Any, booster: Any) -> None:
        freed.append(handle.value)
        free(library, handle, booster)

    monkeypatch.setattr(single_row, "_free", counted)
    booster = lightgbm.Booster(model_str=booster_of(make_case("regression")).model_to_string())
    single, alive = SingleRow(booster), weakref.ref(booster)
    del booster
    gc.collect()
    assert alive() is not None
    row = make_case("regression").rows.matrix[:1]
    assert single(row) == booster_of(make_case("regression")).predict(row)
    del single
    gc.collect()
    assert len(freed) == 1
    assert alive() is None
