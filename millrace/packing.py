"""What training leaves behind, put together as a bundle's folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from millrace import bundle as files
from millrace.bundle import FittedModel, seal, write_json
from millrace.card import write_card
from millrace.evaluation import Evaluation
from millrace.explanation import Importance
from millrace.forgetting import write_keys
from millrace.leaderboard import Leaderboard
from millrace.splitting import SplitRecord

if TYPE_CHECKING:
    from millrace.large.rows import Account

SELFTEST_ROWS = 20


@dataclass(frozen=True)
class Training:
    """Everything a bundle is made of, but for when and where it was made."""

    fitted: FittedModel
    training_rows: pd.DataFrame
    holdout_rows: pd.DataFrame
    evaluation: Evaluation
    leaderboard: Leaderboard
    importance: list[Importance]
    split: SplitRecord
    evaluation_plots: dict[str, bytes]
    explanation_plots: dict[str, bytes]
    data_digest: str
    confidence: float
    account: "Account | None" = None
    """Of a table that stayed on disk: its rows here are then some of all."""


def pack(folder: Path, training: Training, provenance: dict[str, Any], reference_rows: int, seed: int) -> str:
    """Write a bundle into an empty folder and return its digest."""
    training.fitted.save(folder)
    ranked = [
        {"candidate": result.candidate, "metric": result.metric, "std": result.std}
        for result in training.leaderboard.rows
    ]
    evaluation = training.evaluation.model_dump(mode="json")
    write_json(folder / files.METRICS, {"evaluation": evaluation, "leaderboard": ranked})
    write_json(folder / files.SPLIT, training.split.model_dump(mode="json"))
    write_json(folder / files.EXPLANATION, [item.model_dump(mode="json") for item in training.importance])
    write_json(folder / files.SELFTEST, _selftest(training))
    sample = _sample(training.holdout_rows, reference_rows, seed)
    _reference(training, sample).to_parquet(folder / files.REFERENCE, compression="zstd")
    write_keys(
        folder, training.fitted, training.training_rows, training.holdout_rows.head(SELFTEST_ROWS), sample
    )
    write_card(folder, training)
    write_json(folder / files.PROVENANCE, provenance)
    return seal(folder)


def _selftest(training: Training) -> dict[str, Any]:
    """Rows with recorded predictions: a loaded bundle that answers otherwise is not this model."""
    rows = training.holdout_rows.head(SELFTEST_ROWS)
    problem = training.fitted.problem
    return {
        "rows": [_plain(row) for row in rows[list(problem.inputs)].to_dict("records")],
        "predictions": training.fitted.predict(rows).tolist(),
    }


def _plain(row: dict[Any, Any]) -> dict[str, Any]:
    """A row as a caller would send it: null for missing, text for moments."""
    return {
        str(name): None if pd.isna(value) else value.isoformat() if isinstance(value, pd.Timestamp) else value
        for name, value in row.items()
    }


def _sample(table: pd.DataFrame, rows: int, seed: int) -> pd.DataFrame:
    return table.iloc[np.sort(np.random.default_rng(seed).permutation(len(table))[:rows])]


def _reference(training: Training, sample: pd.DataFrame) -> pd.DataFrame:
    """Holdout rows with their predictions, to know drift and decay by.

    Of rows that the model was fitted on, its predictions are spread otherwise than of new ones.
    """
    fitted = training.fitted
    chosen = sample[[*fitted.problem.inputs, fitted.problem.target.name]].reset_index(drop=True)
    return chosen.assign(**fitted.columns(fitted.predict(chosen)))
