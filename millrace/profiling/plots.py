"""Pictures of a table: each column beside what the target does with it, and columns together.

Drawn from a sample of typed rows, [rows, columns] as a DataFrame, as PNG bytes.
"""

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from millrace.casting import cast_column, plain
from millrace.contract import Column
from millrace.profiling.drafting import ColumnProfile, Draft
from millrace.profiling.settings import ProfilingSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE = "#2563a8", "#d9822b"
DRAWN = 60
BARS = 10
GROUPS = 12
LABEL = 22
# What lies outside is counted as an outlier, and would flatten the rest.
MIDDLE = (0.005, 0.995)


def sample_rows(raw: pa.Table, draft: Draft, settings: ProfilingSettings) -> pd.DataFrame:
    """A seeded sample of the rows, in the types that the columns seem to have; text columns are not in it."""
    count = min(raw.num_rows, settings.plotted_rows)
    chosen = np.sort(np.random.default_rng(settings.seed).choice(raw.num_rows, count, replace=False))
    rows = raw.take(chosen)
    typed: dict[str, Any] = {}
    for position, column in enumerate(draft.columns):
        if column.kind not in (None, "id") and column.facts and column.facts.distinct > 1:
            reader = Column.model_construct(type=column.kind, categories=_categories(column, draft))
            values = cast_column(plain(rows.column(position), reader), reader)
            typed.setdefault(column.name, _floats(values) if column.kind != "category" else values)
    return pd.DataFrame(typed)


def column_plots(sample: pd.DataFrame, draft: Draft) -> dict[str, bytes]:
    """The distribution of each of the first `DRAWN` columns, and its relation to the target."""
    target = draft.target
    return {
        column.name: _column_plot(sample, column, target)
        for column in [column for column in draft.columns if column.name in sample][:DRAWN]
    }


def correlation_plot(sample: pd.DataFrame, draft: Draft) -> bytes | None:
    """Spearman's rank correlations of numbers, booleans and dates; None if there are fewer than two."""
    names = [c.name for c in draft.columns if c.name in sample and c.kind != "category"][:DRAWN]
    if len(names) < 2:
        return None
    matrix = sample[names].corr(method="spearman").to_numpy()
    size = min(2.2 + 0.42 * len(names), 14)
    figure = _figure(size + 1, size)
    axes = figure.subplots()
    shades = axes.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1)
    if len(names) <= 15:
        for (row, column), value in np.ndenumerate(matrix):
            if np.isfinite(value):
                shade = "white" if abs(value) > 0.6 else "black"
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=shade, fontsize=7)
    labels = [_label(name) for name in names]
    axes.set_xticks(range(len(names)), labels, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), labels)
    figure.colorbar(shades, ax=axes, shrink=0.8, label="rank correlation")
    return _png(figure)


def missing_plot(draft: Draft) -> bytes | None:
    """The share of empty cells in each column that has some; None if none has."""
    holed = [column for column in draft.columns if column.facts and column.facts.missing]
    if not holed:
        return None
    holed = sorted(holed, key=lambda column: column.facts.missing if column.facts else 0)[-DRAWN:]
    shares = [column.facts.missing / draft.rows for column in holed if column.facts]
    figure = _figure(7.5, 0.9 + 0.26 * len(holed))
    axes = figure.subplots()
    axes.barh(range(len(holed)), shares, color=ORANGE)
    axes.set_yticks(range(len(holed)), [_label(column.name) for column in holed])
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel("share of empty cells")
    return _png(figure)


def _categories(column: ColumnProfile, draft: Draft) -> tuple[str, ...]:
    known = draft.problem.columns.get(column.name)
    return known.categories if known and column.role != "left out" else ()


def _floats(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Numbers, 0 and 1, or days since 1970 as floats, with NaN for what is empty or infinite."""
    if values.dtype.kind == "M":
        days = values.to_numpy("datetime64[us]").astype(np.int64) / 86_400e6
        return pd.Series(np.where(values.isna(), np.nan, days))
    return values.astype("Float64").astype(float).replace([np.inf, -np.inf], np.nan)


def _column_plot(sample: pd.DataFrame, column: ColumnProfile, target: ColumnProfile) -> bytes:
    alone = column.role == "target"
    figure = _figure(4.6 if alone else 9.2, 2.5)
    axes = figure.subplots(1, 1 if alone else 2, squeeze=False)[0]
    _distribution(axes[0], sample[column.name], column)
    if not alone:
        pair = sample[[column.name, target.name]].dropna()
        relate = _of_classes if target.kind in ("category", "boolean") else _of_amounts
        relate(axes[1], pair[column.name], pair[target.name], column, target)
    return _png(figure)


def _distribution(axes: Any, values: "pd.Series[Any]", column: ColumnProfile) -> None:
    known = values.dropna()
    if column.kind in ("category", "boolean"):
        counts = _named(known, column).value_counts().head(BARS)[::-1]
        axes.barh(range(len(counts)), counts.to_numpy(), color=BLUE)
        # As labels: matplotlib would try to read texts on an axis as dates.
        axes.set_yticks(range(len(counts)), counts.index)
        axes.set_xlabel("rows")
    else:
        middle = _middle(known)
        axes.hist(middle, bins=40, color=BLUE)
        axes.set_ylabel("rows")
        axes.set_xlabel("middle 99%" if len(middle) < len(known) else _label(column.name))
        if column.kind == "datetime":
            _date_axis(axes, middle)


def _of_amounts(
    axes: Any, values: "pd.Series[Any]", target: "pd.Series[Any]", column: ColumnProfile, aim: ColumnProfile
) -> None:
    """The target's quartiles by category; or where the rows lie, and the target's median along them."""
    if column.kind in ("category", "boolean"):
        named = _named(values, column)
        often = named.value_counts().head(BARS).index
        order = [name for name in target.groupby(named).median().sort_values().index if name in often]
        groups = [target[named == name].to_numpy() for name in order]
        if groups:
            axes.boxplot(
                groups, orientation="horizontal", tick_labels=order, showfliers=False, patch_artist=True,
                boxprops={"facecolor": "#dbe7f5"}, medianprops={"color": ORANGE},
            )  # fmt: skip
        axes.set_xlabel(_label(aim.name))
        return
    middle = _middle(values)
    seen = target[middle.index]
    if not len(middle):
        return
    axes.hexbin(middle, seen, gridsize=32, bins="log", mincnt=1, cmap="Blues")
    bins = _slices(middle, GROUPS)
    along = middle.groupby(bins).median()
    medians = seen.groupby(bins).median()
    axes.plot(along, medians, "o-", color=ORANGE, markersize=3, linewidth=1.4)
    axes.set_ylabel(_label(aim.name))
    axes.set_xlabel(_label(column.name))
    if column.kind == "datetime":
        _date_axis(axes, middle)


def _of_classes(
    axes: Any, values: "pd.Series[Any]", target: "pd.Series[Any]", column: ColumnProfile, aim: ColumnProfile
) -> None:
    """The share of each class by category, or by slices of the feature with equally many rows."""
    if column.kind in ("category", "boolean"):
        groups: Any = _named(values, column)
        groups = groups.where(groups.isin(groups.value_counts().head(BARS).index))
    else:
        groups = _slices(values, GROUPS // 2)
    shares = pd.crosstab(groups, _named(target, aim), normalize="index")
    axes.set_yticks(range(len(shares)), [_slice_name(group, column) for group in shares.index])
    left = np.zeros(len(shares))
    # By name, so that a class has one colour throughout.
    for position, name in enumerate(sorted(shares.columns)[:BARS]):
        axes.barh(range(len(shares)), shares[name], left=left, label=name, color=f"C{position}", alpha=0.85)
        left = left + shares[name].to_numpy()
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel(f"share of each {_label(aim.name)}")
    if len(shares):
        axes.legend(fontsize=7, frameon=False, bbox_to_anchor=(1, 1), loc="upper left")


def _named(values: "pd.Series[Any]", column: ColumnProfile) -> "pd.Series[Any]":
    if column.kind == "boolean":
        return values.map({1.0: "true", 0.0: "false"})
    return values.map(_label, na_action="ignore")


def _slices(values: "pd.Series[Any]", count: int) -> "pd.Series[Any]":
    """Each value's slice, named by its upper end; about equally many values are in each."""
    if not len(values):
        return values
    ends = np.unique(np.quantile(values, np.arange(1, count + 1) / count, method="inverted_cdf"))
    return pd.Series(ends[np.searchsorted(ends, values.to_numpy())], index=values.index)


def _slice_name(end: Any, column: ColumnProfile) -> str:
    if isinstance(end, str):
        return end
    return str(np.datetime64(int(end), "D")) if column.kind == "datetime" else f"to {end:.4g}"


def _middle(values: "pd.Series[Any]") -> "pd.Series[Any]":
    low, high = values.quantile(MIDDLE[0]), values.quantile(MIDDLE[1])
    return values[(values >= low) & (values <= high)] if low < high else values


def _date_axis(axes: Any, days: "pd.Series[Any]") -> None:
    """Dates along the axis, without the margins that could lead beyond the years 1 to 9999."""
    axes.xaxis_date()
    if days.min() < days.max():
        axes.set_xlim(days.min(), days.max())
    axes.tick_params(axis="x", labelrotation=30)


def _label(text: str) -> str:
    """Text for matplotlib, short, and with dollar signs that start no formula."""
    short = text if len(text) <= LABEL else text[: LABEL - 3] + "..."
    return short.replace("$", r"\$")


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _png(figure: "Figure") -> bytes:
    for axes in figure.axes:
        axes.tick_params(labelsize=8)
        axes.xaxis.label.set_fontsize(8)
        axes.yaxis.label.set_fontsize(8)
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    # Without the Software entry the bytes depend on the drawing alone.
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()
