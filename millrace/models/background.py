"""A few training rows that a model keeps: what its predictions are explained against."""

from pathlib import Path

import numpy as np

from millrace.transforms import Matrix

FILE = "background.npy"
ROWS = 16


def choose(matrix: Matrix, seed: int) -> Matrix:
    """A seeded sample of the rows."""
    return matrix[np.sort(np.random.default_rng(seed).permutation(len(matrix))[:ROWS])]


def save(background: Matrix, folder: Path) -> None:
    """Write the rows into `folder`."""
    np.save(folder / FILE, background, allow_pickle=False)


def load(folder: Path) -> Matrix:
    """Read what `save` wrote."""
    rows: Matrix = np.load(folder / FILE, allow_pickle=False)
    return rows
