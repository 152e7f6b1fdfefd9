"""Tables with the traps of real ones, as the text of a CSV file, that should still work."""

import csv
import io
from typing import Any

import numpy as np

ROWS = 600
BROKEN = ("1,250", "n.a. yet", "12 m")


def trap_table(rows: int = ROWS, seed: int = 0) -> dict[str, list[str]]:
    """Columns of text; `rent` depends on a few of them, and each other column is a trap."""
    rng = np.random.default_rng(seed)
    area, rooms = rng.normal(80, 25, rows).clip(12), rng.integers(1, 7, rows)
    districts = rng.choice(["North", "north", "SOUTH", "Köln-Süd"], rows)
    rent = 4 + 9 * area + 60 * rooms + 120 * (districts == "SOUTH") + rng.normal(0, 40, rows)
    days = np.datetime64("2019-03-01") + rng.integers(0, 1500, rows)

    def holed(values: Any, share: float) -> list[str]:
        return [str(v) if rng.random() > share else "" for v in values]

    columns: dict[str, list[str]] = {
        "flat id": [f"{position:06d}" for position in range(rows)],
        "area": [f"{value:.1f}" for value in area],
        "rooms": holed([f"{value}.0" for value in rooms], 0.08),
        "Straße & Nr.": [
            f"Way {rng.integers(10**6)}, {rng.choice(['front', 'back'])} house" for _ in range(rows)
        ],
        "plz": [f"{code:03d}" for code in rng.choice([7, 12, 105, 210], rows)],
        "country": ["DE"] * rows,
        "empty": [""] * rows,
        "rent.per.year": [f"{12 * value:.2f}" for value in rent],
        "let on": [str(day) for day in days],
        "lift?": [("yes", "no")[flag] for flag in rng.integers(0, 2, rows)],
        "district": list(districts),
        "heating": holed(rng.choice(["gas", "oil", "none", "NA"], rows), 0.1),
        "distance": [f"{value:.0f}" for value in rng.exponential(900, rows)],
        "floor: 'x' # [a]": [str(value) for value in rng.integers(-1, 12, rows)],
        "yes": [f"{value:.3e}" for value in rng.lognormal(0, 8, rows)],
        "rent": [f"{value:.2f}" for value in rent],
    }
    for position, row in enumerate(rng.choice(rows, rows // 100, replace=False)):
        columns["distance"][row] = BROKEN[position % len(BROKEN)]
    for row in range(5):
        for cells in columns.values():
            cells.append(cells[row])
    return columns


def as_csv(columns: dict[str, list[str]]) -> bytes:
    """The columns as UTF-8 text without a byte order mark."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()
