"""What a model costs to run: the time of one row, the size of its files."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from millrace.bundle import (
    CARD,
    EXPLANATION,
    KEYS,
    MANIFEST,
    METRICS,
    PROVENANCE,
    REFERENCE,
    SELFTEST,
    SPLIT,
    Bundle,
)

REPORTS = {CARD, EXPLANATION, KEYS, MANIFEST, METRICS, PROVENANCE, REFERENCE, SELFTEST, SPLIT}
ROUNDS = 30
WARM_UP = 5


@dataclass(frozen=True)
class Footprint:
    """The median time of predicting one row, and the size of what is needed for it."""

    latency_ms: float
    size_mb: float


def measure(bundles: Sequence[Bundle], rows: pd.DataFrame) -> list[Footprint]:
    """The footprint of each bundle on this machine, now.

    They take turns on the same rows of a typed table, so that a busy moment strikes all of them.
    """
    seconds = np.empty((WARM_UP + ROUNDS, len(bundles)))
    for turn in range(len(seconds)):
        row = rows.iloc[[turn % len(rows)]]
        for position, bundle in enumerate(bundles):
            started = time.perf_counter()
            bundle.fitted.predict(row)
            seconds[turn, position] = time.perf_counter() - started
    medians = np.median(seconds[WARM_UP:], axis=0)
    return [
        Footprint(latency_ms=float(median) * 1e3, size_mb=_size(bundle) / 1e6)
        for median, bundle in zip(medians, bundles, strict=True)
    ]


def _size(bundle: Bundle) -> int:
    """Bytes of the files that a prediction needs: not of what only people and checks read."""
    return sum(
        path.stat().st_size
        for path in bundle.folder.rglob("*")
        if path.is_file() and path.name not in REPORTS
    )
