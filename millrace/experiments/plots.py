"""Pictures of an experiment as PNG bytes."""

import io
from collections.abc import Sequence

from millrace.experiments.planning import Plan
from millrace.experiments.record import Look
from millrace.monitoring.plots import BLUE, GREY, ORANGE

RED = "#c0392b"
COLOURS = {"promote": "#1a7f4b", "stop": RED, "go on": BLUE, "void": GREY}


def looks_plot(looks: Sequence[Look], plan: Plan) -> bytes:
    """The interval of the difference at each look, over the units with outcomes that were there."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 4.2), layout="constrained")
    axes = figure.subplots()
    known = [(look, look.difference) for look in looks if look.difference is not None]
    units = [look.units for look, _ in known]
    axes.fill_between(
        units, [each.low for _, each in known], [each.high for _, each in known],
        color=BLUE, alpha=0.15, linewidth=0, label="holds at all looks at once",
    )  # fmt: skip
    axes.plot(units, [each.value for _, each in known], color=BLUE, linewidth=1)
    for status, colour in COLOURS.items():
        own = [(look.units, each) for look, each in known if look.status == status]
        if own:
            axes.errorbar(
                [place for place, _ in own],
                [each.value for _, each in own],
                yerr=[
                    [each.value - each.low for _, each in own],
                    [each.high - each.value for _, each in own],
                ],
                fmt="o", color=colour, capsize=3, linewidth=1, markersize=4, label=status,
            )  # fmt: skip
    axes.axhline(0, color=GREY, linewidth=1)
    axes.axhline(-plan.effect, color=ORANGE, linewidth=1, linestyle="--", label="worth finding")
    axes.axvline(plan.units, color=GREY, linewidth=1, linestyle=":", label="planned size")
    axes.set_xlim(0, max([plan.units, *units]) * 1.04)
    # The first intervals are so wide that nothing else would be seen.
    axes.set_ylim(-4 * plan.effect, 4 * plan.effect)
    axes.set_xlabel("keys with outcomes")
    axes.set_ylabel("mean loss, challenger less champion")
    axes.legend(loc="upper right", framealpha=1, edgecolor="none", fontsize=8, ncols=2)
    axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
