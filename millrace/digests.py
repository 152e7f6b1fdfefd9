"""Digests of tables and rows: what a run was trained on, and which rows were held out."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def table_digest(table: pd.DataFrame) -> str:
    """sha256 of a table's names, types and values; the index and memory layout do not count."""
    digest = hashlib.sha256()
    for name in table.columns:
        column = table[name]
        digest.update(f"{name}\0{column.dtype}\0{len(column)}\0".encode())
        digest.update(_column_hashes(column).tobytes())
    return digest.hexdigest()


def row_digests(table: pd.DataFrame) -> NDArray[np.uint64]:
    """A 64-bit hash a row, from its values alone: [rows]."""
    combined = np.full(len(table), 0x9E3779B97F4A7C15, dtype=np.uint64)
    for name in sorted(table.columns):
        combined = mix(combined ^ _column_hashes(table[name]))
    return combined


def mix(values: NDArray[np.uint64], seed: int = 0) -> NDArray[np.uint64]:
    """Scramble 64-bit values, differently for each seed.

    The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014, doi:10.1145/2714064.2660195).
    """
    with np.errstate(over="ignore"):
        z = values + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)), dtype=np.uint64)


def file_digest(path: Path) -> str:
    """sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _column_hashes(column: "pd.Series[Any]") -> NDArray[np.uint64]:
    if column.dtype == np.float64:
        # Equal numbers have equal hashes: no minus zero, and one NaN of the many there are.
        column = (column + 0.0).where(column.notna())
    hashes = pd.util.hash_pandas_object(column, index=False)
    return np.asarray(hashes, dtype=np.uint64)
