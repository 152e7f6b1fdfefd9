"""Tables that need no file: the embedded sample and scikit-learn's data sets."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pyarrow as pa

from millrace.errors import UserError, unknown
from millrace.sources.wanted import Found, Wanted


def read(uri: str, cache: Path, wanted: Wanted) -> Found:
    """Read `sample://housing` or `sklearn://NAME`; scikit-learn downloads to `cache`."""
    scheme, _, name = uri.partition("://")
    table = _read_sample(name) if scheme == "sample" else _read_sklearn(name, cache)
    return wanted.pick(table, "synthetic" if scheme == "sample" else "scikit-learn")


def _read_sample(name: str) -> pa.Table:
    from millrace.sample import housing_sample

    if name != "housing":
        raise unknown("sample", name, ["housing"])
    return housing_sample()


def _read_sklearn(name: str, cache: Path) -> pa.Table:
    from urllib.error import URLError

    from sklearn import datasets

    loaders: dict[str, Any] = {
        "breast_cancer": datasets.load_breast_cancer,
        "diabetes": datasets.load_diabetes,
        "iris": datasets.load_iris,
        "wine": datasets.load_wine,
        "california_housing": lambda as_frame: datasets.fetch_california_housing(
            data_home=str(cache), as_frame=as_frame, n_retries=1
        ),
    }
    if name not in loaders:
        raise unknown("scikit-learn data set", name, loaders)
    try:
        with warnings.catch_warnings():
            # That it tries again is nothing to read; that it failed, the error says.
            warnings.simplefilter("ignore")
            data = loaders[name](as_frame=True)
    except (URLError, OSError) as error:
        raise UserError(
            f"The data set '{name}' cannot be downloaded ({getattr(error, 'reason', error)}). "
            "Pass a copy of it instead: --data PATH_OR_URI."
        ) from None
    frame = data.frame
    if hasattr(data, "target_names") and len(data.target_names) > 1:
        frame[data.target.name] = data.target_names[data.target.to_numpy()]
    return pa.Table.from_pandas(frame, preserve_index=False)
