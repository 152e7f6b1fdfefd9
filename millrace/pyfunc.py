"""The bundle as an MLflow model: the loader that MLflow calls, by name, instead of a pickle."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from millrace.bundle import Bundle, load_bundle
from millrace.contract import OWN_PREFIX, Problem

INTERVAL = "interval"
PACKAGE = Path(__file__).parent
# The package that goes with a model: Python imports its modules from the archive beside this file.
STUB = '''"""The modules are in one archive: file by file, they would take longer than the model does."""

__path__ = [f"{__path__[0]}/modules.zip"]
'''


class BundleModel:
    """Predicts for a DataFrame with the contract's input columns."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    def predict(self, frame: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:
        """Values [rows] for regression; otherwise a DataFrame of answers and class probabilities.

        With `params={"interval": level}` always a DataFrame, with the columns `_low` and `_high`, or `_set`.

        Raises:
            UserError: the level is not between 0.5 and 0.99.
        """
        fitted, level = self.bundle.fitted, (params or {}).get(INTERVAL)
        predictions = fitted.predict(frame)
        if level is None and not fitted.problem.classes:
            return predictions
        return pd.DataFrame(fitted.columns(predictions, level))


def _load_pyfunc(path: str) -> BundleModel:
    """MLflow's entry point: `path` is the bundle's folder."""
    return BundleModel(load_bundle(Path(path)))


def pack_code(folder: Path) -> Path:
    """Write this package into `folder` as MLflow is to log it, in two files; returns the package's folder."""
    package = folder / PACKAGE.name
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text(STUB, encoding="utf-8")
    with zipfile.ZipFile(package / "modules.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(PACKAGE.rglob("*.py")):
            if path != PACKAGE / "__init__.py":
                archive.write(path, path.relative_to(PACKAGE))
    return package


def signature(problem: Problem) -> Any:
    """The MLflow signature: types and optionality of the contract's inputs, the output, the parameter."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    types = {
        "number": DataType.double,
        "integer": DataType.double,
        "boolean": DataType.boolean,
        "category": DataType.string,
        "datetime": DataType.datetime,
    }
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(types[column.type], name, required=not column.nullable)
        for name, column in problem.inputs.items()
    ]
    outputs: list[ColSpec | TensorSpec] = [ColSpec(DataType.double)]
    if problem.classes:
        chances = [ColSpec(DataType.double, OWN_PREFIX + name) for name in problem.classes]
        outputs = [ColSpec(DataType.string, "_prediction"), *chances]
    params = ParamSchema([ParamSpec(INTERVAL, DataType.double, None)])
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs), params=params)


def input_example(table: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """A few rows as a caller would send them."""
    return table[list(problem.inputs)].head(3).replace({np.nan: None})
