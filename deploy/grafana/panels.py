"""The kinds of panels and variables that the dashboards are made of."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import bargauge, common, stat, timeseries
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    ThresholdsConfig,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models.common import (
    BigValueTextMode,
    GraphTresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
    VariableSort,
)

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG = "millrace"
# Of 24 columns; heights in rows of 30 pixels.
WIDTH, HEIGHT = 12, 8
LETTERS = "ABCDEFGH"
# PromQL and what a series is called, by its labels.
Query = tuple[str, str]


def board(uid: str, title: str, about: str) -> Dashboard:
    """An empty dashboard with links to the others; `datasource` is its first variable."""
    others = DashboardLink("Millrace").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    return (
        Dashboard(title)
        .uid(uid)
        .description(about)
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .time("now-6h", "now")
        .refresh("30s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(others.as_dropdown(False).include_vars(True).keep_time(True))
        .with_variable(DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )


def variable(name: str, label: str, query: str, *, several: bool = False) -> QueryVariable:
    """A choice among a label's values; of `several` all are chosen at first."""
    made = (
        QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )
    return made.multi(True).include_all(True) if several else made


def lines(
    title: str,
    about: str,
    unit: str,
    *queries: Query,
    width: int = WIDTH,
    limit: float | None = None,
    stacked: bool = False,
    nothing: str | None = None,
) -> timeseries.Panel:
    """Series over time; `limit` is drawn as a line, `nothing` is said where no series is good news."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(HEIGHT)
        .fill_opacity(40 if stacked else 0)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .targets(_targets(queries))
    )
    if limit is not None:
        panel = panel.thresholds(_limit(limit)).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(GraphTresholdsStyleMode.DASHED)
        )
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL)).min(0)
    return panel.no_value(nothing) if nothing else panel


def band(panel: timeseries.Panel, low: str, high: str, dashed: str) -> timeseries.Panel:
    """Fill a time series' panel between two of its series, and dash those that a pattern names."""
    hidden = DynamicConfigValue("custom.lineWidth", 0)
    below, opaque = (
        DynamicConfigValue("custom.fillBelowTo", low),
        DynamicConfigValue("custom.fillOpacity", 20),
    )
    dashes = DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [10, 10]})
    return (
        panel.override_by_name(high, [hidden, below, opaque])
        .override_by_name(low, [hidden])
        .override_by_regexp(dashed, [dashes])
    )


def number(
    title: str,
    about: str,
    unit: str,
    query: Query,
    *,
    width: int = 6,
    limit: float | None = None,
    named: bool = False,
    nothing: str | None = None,
) -> stat.Panel:
    """The last value of each series, red from `limit` on; `named` shows the series' names instead."""
    panel = (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(5)
        .text_mode(BigValueTextMode.NAME if named else BigValueTextMode.AUTO)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .thresholds(_limit(limit))
        .targets(_targets([query]))
    )
    return panel.no_value(nothing) if nothing else panel


def bars(
    title: str, about: str, unit: str, query: Query, *, width: int = WIDTH, limit: float | None = None
) -> bargauge.Panel:
    """The last value of each series as a bar, red from `limit` on."""
    return (
        bargauge.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .span(width)
        .height(HEIGHT)
        .orientation(VizOrientation.HORIZONTAL)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .thresholds(_limit(limit))
        .targets(_targets([query]))
    )


def _limit(value: float | None) -> ThresholdsConfig:
    steps = [Threshold(value=None, color="green")]
    steps += [] if value is None else [Threshold(value=value, color="red")]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def _targets(queries: Sequence[Query]) -> list[Dataquery]:
    return [
        Dataquery().expr(" ".join(expression.split())).legend_format(legend).ref_id(letter).range()
        for letter, (expression, legend) in zip(LETTERS, queries, strict=False)
    ]
