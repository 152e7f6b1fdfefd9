"""A batch of raw rows to rows of the output: checked, scored, with interval and contributions if asked."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from millrace.batch.checks import Checker
from millrace.bundle import REFERENCE, Bundle
from millrace.cleaning import REASON
from millrace.contract import OWN_COLUMNS, OWN_PREFIX
from millrace.errors import UserError
from millrace.explanation import Contributions
from millrace.features import encode_inputs
from millrace.metrics import Floats
from millrace.request_tables import as_request
from millrace.scoring import Scorer
from millrace.transforms import Matrix

VERSION, DIGEST, JOB = "_version", "_digest", "_job"
CONTRIBUTION, BASE = "_contribution_", "_base"
FILE, ROW = "_file", "_row"


@dataclass(frozen=True)
class Asked:
    """What the output is to say of a row besides the prediction, and which columns of the input it keeps."""

    version: str
    job: str
    level: float | None
    explain: bool
    keep: str
    """`key` or `all`."""
    logged: int
    """How many rows of a batch are for the prediction log, evenly spread."""
    compiled: bool = False
    """Whether trees are to be compiled, where they can be."""


class Scored(NamedTuple):
    """The rows that were scored, those that were not, with their reasons, and some as a service's request."""

    table: pa.Table
    quarantine: pa.Table
    reasons: Counter[str]
    request: bytes | None
    summary: dict[str, float]


class RowScorer:
    """Scores batches, in any thread."""

    def __init__(self, bundle: Bundle, asked: Asked) -> None:
        self.fitted = bundle.fitted
        self.asked = asked
        self._digest = bundle.digest
        self._scorer = Scorer(bundle.fitted)
        self._checker = Checker(bundle.problem)
        self.compiled = asked.compiled and self._scorer.compile(known_rows(bundle))

    def score(self, table: pa.Table, start: int, origin: str) -> Scored:
        """Score the rows of a file called `origin` from its row `start` on, counted from 0.

        Raises:
            UserError: it has not the contract's columns, or has some that only an output has.
            ValueError: the model predicts something that is not a finite number.
        """
        self._refuse_own(table.column_names, origin)
        checked = self._checker.check(table, origin)
        sound = checked.sound
        rows = np.flatnonzero(sound)
        inputs = encode_inputs(checked.values, self.fitted.state.inputs)[sound]
        predictions = self._predict(inputs)
        kept = self._kept(table)
        columns = dict(zip(kept, (table.column(name) for name in kept), strict=True))
        if len(rows) < len(sound):
            columns = {name: column.filter(pa.array(sound)) for name, column in columns.items()}
        columns |= self._answers(predictions)
        if self.asked.explain:
            columns |= self._contributions(inputs)
        columns |= self._constants(len(rows))
        request = None
        if self.asked.logged and len(rows):
            some = rows[:: -(-len(rows) // self.asked.logged)]
            sample = self._checker.requested(table, checked, some)
            request = as_request(sample, self.fitted.problem, self.asked.level)
        bad = checked.faults.index.to_numpy()
        quarantine = table.take(pa.array(bad, pa.int64()))
        quarantine = quarantine.append_column(FILE, pa.repeat(origin, len(bad)))
        quarantine = quarantine.append_column(ROW, pa.array(bad + start, pa.int64()))
        quarantine = quarantine.append_column(REASON, pa.array(checked.faults, pa.string()))
        return Scored(pa.table(columns), quarantine, checked.reasons, request, self._summary(predictions))

    def _predict(self, inputs: Matrix) -> Floats:
        if not len(inputs):
            classes = len(self.fitted.problem.classes)
            return np.empty((0, classes) if classes else 0)
        predictions = self._scorer.predict(inputs)
        if not np.isfinite(predictions).all():
            raise ValueError("The model predicted something that is not a finite number.")
        return predictions

    def _refuse_own(self, names: list[str], origin: str) -> None:
        prefixes = (OWN_PREFIX, CONTRIBUTION)
        taken = {*OWN_COLUMNS, VERSION, DIGEST, JOB, FILE, ROW, BASE}
        own = [name for name in names if name in taken or name.startswith(prefixes)]
        if own:
            raise UserError(
                f"{origin}: has a column '{own[0]}', a name that Millrace gives its own; rename the column, "
                "or keep the key alone with --set columns=key."
            )

    def _kept(self, table: pa.Table) -> list[str]:
        key = self.fitted.problem.key
        if self.asked.keep == "all":
            return list(table.column_names)
        return [key] if key else []

    def _answers(self, predictions: Floats) -> dict[str, pa.Array]:
        """Answers, probabilities and interval as Arrow columns of types that do not depend on the rows."""
        classes = self.fitted.problem.classes
        types = {"_prediction": pa.string() if classes else pa.float64(), "_set": pa.list_(pa.string())}
        columns = self.fitted.columns(predictions, self.asked.level)
        return {name: pa.array(found, types.get(name, pa.float64())) for name, found in columns.items()}

    def _contributions(self, inputs: Matrix) -> dict[str, pa.Array]:
        """A column a feature, of several classes one a class and feature; and what they are added to."""
        parts: list[Contributions] = []
        start = 0
        while start < len(inputs) or not parts:
            # Kinds that are slow to explain give no more than the first rows of those they are asked for.
            parts.append(self._scorer.explain(inputs[start:] if len(inputs) else self._nothing()))
            start += len(parts[-1].values)
        values = np.concatenate([part.values for part in parts])[: len(inputs)]
        columns = {}
        for number, output in enumerate(parts[0].outputs):
            of = f"{output}_" if len(parts[0].outputs) > 1 else ""
            for position, name in enumerate(parts[0].names):
                columns[f"{CONTRIBUTION}{of}{name}"] = pa.array(values[:, position, number])
            base = np.full(len(inputs), parts[0].base[number])
            columns[f"{BASE}_{output}" if of else BASE] = pa.array(base)
        return columns

    def _nothing(self) -> Matrix:
        """A row of gaps: where no row is sound, the columns still have names."""
        return np.full((1, len(self.fitted.state.inputs)), np.nan)

    def _constants(self, rows: int) -> dict[str, pa.Array]:
        said = {VERSION: self.asked.version, DIGEST: self._digest, JOB: self.asked.job}
        none = pa.array(np.zeros(rows, dtype=np.int32))
        return {name: pa.DictionaryArray.from_arrays(none, pa.array([text])) for name, text in said.items()}

    def _summary(self, predictions: Floats) -> dict[str, float]:
        if self.fitted.problem.classes:
            answers: Any = Counter(self.fitted.answers(predictions))
            return {name: float(answers[name]) for name in self.fitted.problem.classes}
        if not len(predictions):
            return {}
        return {
            "sum": float(predictions.sum()),
            "min": float(predictions.min()),
            "max": float(predictions.max()),
        }


def known_rows(bundle: Bundle) -> Matrix:
    """The bundle's sample of rows, encoded: [rows, inputs]."""
    inputs = bundle.fitted.state.inputs
    if not (bundle.folder / REFERENCE).is_file():
        return np.empty((0, len(inputs)))
    return encode_inputs(pd.read_parquet(bundle.folder / REFERENCE), inputs)
