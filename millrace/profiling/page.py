"""The profile as one HTML page that needs nothing else."""

import pyarrow as pa

from millrace.pages import render
from millrace.profiling.drafting import Draft
from millrace.profiling.plots import DRAWN, column_plots, correlation_plot, missing_plot, sample_rows
from millrace.profiling.settings import ProfilingSettings
from millrace.profiling.statistics import countable, missing_patterns


def profile_page(raw: pa.Table, draft: Draft, settings: ProfilingSettings) -> str:
    """Statistics over all rows, plots of a seeded sample of them."""
    sample = sample_rows(raw, draft, settings)
    readable = [
        position
        for position, column in enumerate(draft.columns)
        if column.facts is not None and countable(raw.schema.types[position])
    ]
    return render(
        "profile",
        title="Profile",
        problem=draft.problem,
        draft=draft,
        sampled=len(sample),
        drawn=DRAWN,
        plots=column_plots(sample, draft),
        correlations=correlation_plot(sample, draft),
        missing=missing_plot(draft),
        patterns=missing_patterns(raw.select(readable)),
    )
