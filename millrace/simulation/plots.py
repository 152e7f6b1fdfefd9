"""A picture of a simulation, as PNG bytes."""

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from millrace.simulation.replay import Replay

if TYPE_CHECKING:
    pass

BLUE, ORANGE, GREY = "#2563a8", "#d9822b", "#8a8f98"


def timeline(found: Replay) -> bytes:
    """By simulated day: how well rows were answered, how many came, and how long answers took."""
    from matplotlib.figure import Figure

    figure: Figure = Figure(figsize=(9, 7.2), layout="constrained")
    above, middle, below = figure.subplots(3, 1, sharex=True, height_ratios=[1.5, 1, 1])
    days = np.array([day.day + 0.5 for day in found.days])
    for axes in (above, middle, below):
        _shade(axes, found)
        axes.grid(axis="y", alpha=0.3)
    above.plot(days, _known([day.metric for day in found.days]), "o-", color=BLUE, markersize=4, linewidth=1)
    above.set_ylim(bottom=0)
    above.margins(y=0.15)
    above.set_ylabel(f"{found.metric_name}, all rows of the day")
    of = f" of {found.column}" if found.column else ""
    above.set_title(
        f"{found.problem}, {found.plan.scenario}{of}".replace("$", r"\$"), loc="left", fontsize=10
    )
    _name_versions(above, found)
    middle.bar(days, [day.rows for day in found.days], color=BLUE, alpha=0.5, width=0.8, label="answered")
    refused = [day.refused for day in found.days]
    if any(refused):
        middle.bar(
            days, refused, bottom=[day.rows for day in found.days], color=ORANGE, width=0.8, label="refused"
        )
    middle.plot(
        days, [day.outcomes for day in found.days], ".-", color="black", linewidth=1, label="outcomes told"
    )
    middle.set_ylim(top=1.25 * middle.get_ylim()[1])
    middle.set_ylabel("rows")
    middle.legend(loc="upper left", frameon=False, ncols=3)
    for name, colour in (("p99_ms", ORANGE), ("p50_ms", BLUE)):
        values = _known([getattr(day, name) for day in found.days])
        below.plot(days, values, ".-", color=colour, linewidth=1, label=name.removesuffix("_ms"))
    below.set_ylim(bottom=0)
    below.set_ylabel("latency, ms")
    below.set_xlabel("simulated day")
    below.legend(loc="upper left", frameon=False, ncols=2)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    return buffer.getvalue()


def _known(values: list[float | None]) -> Any:
    return np.array([np.nan if value is None else value for value in values])


def _shade(axes: Any, found: Replay) -> None:
    """Days on which the scenario happens, the darker the more strongly."""
    for day in found.days:
        axes.axvspan(day.day, day.day + 1, color=ORANGE, alpha=0.22 * abs(day.strength), linewidth=0)


def _name_versions(axes: Any, found: Replay) -> None:
    """Where a version answers for the first time."""
    seen: set[str] = set()
    for day in found.days:
        for version in day.versions:
            if version not in seen:
                seen.add(version)
                axes.axvline(day.day, color=GREY, linewidth=0.8, linestyle=":")
                axes.annotate(
                    f" version {version} ", (day.day, 0.97), xycoords=("data", "axes fraction"),
                    va="top", fontsize=8, color=GREY,
                )  # fmt: skip
