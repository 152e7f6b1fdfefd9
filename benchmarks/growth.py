"""How cost grows with rows, as a picture."""

from collections.abc import Mapping
from pathlib import Path


def draw(
    figures: Mapping[tuple[str, int], Mapping[str, float]], seconds: str, limit: float, to: Path
) -> None:
    """Seconds and peak memory against rows, a line a contender.

    `figures` are by contender and rows; `seconds` is the name of what took them; `limit` is in MiB.
    """
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    picture, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    for name in dict.fromkeys(name for name, _ in figures):
        known = sorted(rows for of, rows in figures if of == name)
        for axes, what in ((left, seconds), (right, "peak")):
            values = [figures[name, rows][what] for rows in known]
            axes.plot([rows / 1e6 for rows in known], values, "o-", label=name)
    left.set_ylabel("seconds")
    right.set_ylabel("peak memory, MiB")
    right.set_yscale("log")
    right.axhline(limit, color="grey", linestyle=":")
    for axes in (left, right):
        axes.set_xlabel("million rows")
        axes.grid(alpha=0.3)
    left.legend()
    picture.tight_layout()
    picture.savefig(to, dpi=110)
