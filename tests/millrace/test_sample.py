"""The synthetic table that ships with Millrace."""

from pathlib import Path

import numpy as np

from millrace.casting import cast
from millrace.cleaning import clean
from millrace.contract import load_problem
from millrace.sample import ROWS, housing_sample


def test_it_is_the_same_every_time_and_another_with_another_seed() -> None:
    assert housing_sample().equals(housing_sample())
    assert not housing_sample(seed=1).equals(housing_sample(seed=2))


def test_every_row_keeps_the_shipped_contract(problems: Path) -> None:
    problem = load_problem("housing_sample", problems)
    counts = clean(cast(housing_sample(), problem, "sample"), problem, bad_rows_limit=0).counts
    assert counts.used == counts.read == ROWS


def test_there_is_something_to_learn_and_noise_beside_it() -> None:
    frame = housing_sample().to_pandas()
    correlation = np.corrcoef(frame["MedInc"], frame["MedHouseVal"])[0, 1]
    assert 0.3 < correlation < 0.95
