"""Baselines and windows of made-up rows, and a log that a service might have written."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from millrace.bundle import EXPLANATION, METRICS, REFERENCE, Bundle, FittedModel, write_json
from millrace.contract import Task
from millrace.monitoring import Baseline, MonitoringSettings
from millrace.monitoring.tally import Tally
from millrace.prediction_log import Entry, LogSettings, ModelName, Outcome, Outcomes
from millrace.prediction_log.stores import open_store
from millrace.requests import RequestReader, write
from millrace.scoring import Scorer
from tests.millrace.cases import make_fitted, make_table

DIGEST = "a" * 64
MODEL = ModelName("homes", "1", DIGEST)
QUICK = MonitoringSettings(bootstrap=400, resamples=100, report_rows=200)
INPUTS = ("size", "floor", "kind", "lift", "built")
EVEN = dict.fromkeys(INPUTS, 0.2)


def answered(fitted: FittedModel, rows: int, seed: int) -> pd.DataFrame:
    """Rows that a model has answered."""
    table = make_table(fitted.problem.task, rows, seed)
    return table.assign(**fitted.columns(fitted.predict(table)))


def make_baseline(task: Task = "regression", rows: int = 400, seed: int = 1) -> Baseline:
    """Of rows that the model was not fitted on."""
    fitted = make_fitted(task, "lightgbm")
    return Baseline.from_sample(fitted.problem, answered(fitted, rows, seed), EVEN)


def tallied(baseline: Baseline, table: pd.DataFrame) -> Tally:
    """A window's counts."""
    tally = Tally(baseline.columns)
    tally.add(baseline.encode(table))
    return tally


def make_bundle(folder: Path, task: Task = "regression", rows: int = 400) -> Bundle:
    """What monitoring needs of a bundle."""
    fitted = make_fitted(task, "lightgbm")
    folder.mkdir(parents=True, exist_ok=True)
    answered(fitted, rows, seed=1).to_parquet(folder / REFERENCE)
    write_json(folder / EXPLANATION, [{"feature": name, "value": 1.0} for name in INPUTS])
    metrics = {name: {"value": 0.5, "low": 0.4, "high": 0.6} for name in ("rmse", "log_loss")}
    evaluation = {"metric_name": "rmse", "rows": rows, "metrics": metrics, "baseline": {}, "slices": []}
    write_json(folder / METRICS, {"evaluation": evaluation})
    return Bundle(folder, DIGEST, fitted)


class Service:
    """Logs rows as a service does that answers with a bundle's model."""

    def __init__(self, bundle: Bundle, uri: str) -> None:
        self.fitted = bundle.fitted
        self.store = open_store(LogSettings(uri=uri), bundle.problem)
        self.reader, self.scorer = RequestReader(bundle.problem), Scorer(bundle.fitted)

    def answer(
        self, table: pd.DataFrame, time: float, request: str = "r", each: int = 50, **changes: Any
    ) -> None:
        """Answer rows, some a request, all at one time; `changes` are those of the entry."""
        rows = [self.sent(row) for row in table.to_dict("records")]
        for start in range(0, len(rows), each):
            question = self.reader.read(msgspec.json.encode({"rows": rows[start : start + each]}))
            found = write(self.fitted, self.scorer.predict(question.matrix), question.interval)
            about: dict[str, Any] = {"variant": "champion", "model": MODEL, "seconds": 0.01}
            name = f"{request}{start // each}"
            answers = msgspec.json.encode(found)
            self.store.write(
                [Entry(time=time, request=name, question=question, answers=answers, **(about | changes))]
            )

    def learn(self, actual: Sequence[Any], time: float, request: str = "r", each: int = 50) -> None:
        """What was true of answered rows, in their order."""
        known = [Outcome(value, f"{request}{row // each}", row % each) for row, value in enumerate(actual)]
        self.store.write_outcomes([Outcomes(time, known)])

    def close(self) -> None:
        """Finish the log's files."""
        self.store.close()

    def sent(self, row: dict[Any, Any]) -> dict[str, Any]:
        """A row as a caller sends it."""

        def plain(value: Any) -> Any:
            if value is None or value is pd.NaT or value is pd.NA or value != value:
                return None
            if isinstance(value, pd.Timestamp):
                return value.isoformat()
            return value.item() if isinstance(value, np.generic) else value

        return {name: plain(row[name]) for name in self.fitted.problem.features}
