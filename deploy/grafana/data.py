"""What comes and what is predicted, by bins, beside the reference in the model's bundle."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, IntervalVariable, Row

from deploy.grafana.panels import board, lines, variable

HERE = 'instance=~"$instance", version="$version"'
ONE = f'{HERE}, feature="$feature"'
ROWS, REFERENCE = "millrace_feature_rows_total", "millrace_feature_reference_share"
PREDICTED, PREDICTED_REFERENCE = "millrace_prediction_rows_total", "millrace_prediction_reference_share"
# What an empty bin counts as: the index has logarithms.
FLOOR = "0.0001"
CHANCE = (
    "A hundred rows in ten bins make it 0.1 by chance, which monitoring's score knows, and this does not."
)


def _shares(rows: str, labels: str, of: str) -> str:
    """The share of the window's rows in each bin of each `of` (or of all, if it is none)."""
    counted = f"(increase({rows}{{{labels}}}[$window]))"
    by, on = (f"by ({of}, bin)", f"on ({of})") if of else ("by (bin)", "on ()")
    total = f"sum by ({of}) {counted}" if of else f"sum {counted}"
    return f"sum {by} {counted} / {on} group_left () ({total} > 0)"


def _reference(shares: str, labels: str, of: str) -> str:
    return f"max by ({of}, bin) ({shares}{{{labels}}})" if of else f"max by (bin) ({shares}{{{labels}}})"


def _index(rows: str, shares: str, labels: str, of: str) -> str:
    """The population stability index of each `of`."""
    now = f"clamp_min({_shares(rows, labels, of)}, {FLOOR})"
    then = f"clamp_min({_reference(shares, labels, of)}, {FLOOR})"
    return f"sum {f'by ({of}) ' if of else ''}(({now} - {then}) * ln({now} / {then}))"


def build() -> Dashboard:
    """The dashboard `data`."""
    missing = f'{HERE}, bin="missing"'
    return (
        board("millrace-data", "Millrace: data", "What is asked and predicted, beside the reference.")
        .with_variable(variable("problem", "Problem", "label_values(millrace_model_info, name)"))
        .with_variable(
            variable(
                "instance",
                "Service",
                'label_values(millrace_model_info{name="$problem"}, instance)',
                several=True,
            )
        )
        .with_variable(
            variable("version", "Version", f'label_values({ROWS}{{instance=~"$instance"}}, version)')
        )
        .with_variable(variable("feature", "Feature", f"label_values({ROWS}{{{HERE}}}, feature)"))
        .with_variable(IntervalVariable("window").label("Window").values("1h,15m,6h,1d,7d"))
        .with_row(Row("All features"))
        .with_panel(
            lines(
                "Population stability index by feature",
                f"Above 0.2 a feature has changed a lot since the reference. {CHANCE}",
                "short",
                (_index(ROWS, REFERENCE, HERE, "feature"), "{{feature}}"),
                limit=0.2,
            )
        )
        .with_panel(
            lines(
                "Missing by feature",
                "Share of the window's rows without a value, and of the reference's.",
                "percentunit",
                (
                    f"sum by (feature) (increase({ROWS}{{{missing}}}[$window])) "
                    f"/ (sum by (feature) (increase({ROWS}{{{HERE}}}[$window])) > 0)",
                    "{{feature}}",
                ),
                (f"max by (feature) ({REFERENCE}{{{missing}}})", "{{feature}}, reference"),
            )
        )
        .with_row(Row("Feature: $feature"))
        .with_panel(
            lines(
                "Rows by bin",
                "Share of the window's rows. Bins are tenths of the reference, or categories.",
                "percentunit",
                (_shares(ROWS, ONE, "feature"), "{{bin}}"),
                width=8,
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Reference by bin",
                "Share of the rows that the model was tested on.",
                "percentunit",
                (_reference(REFERENCE, ONE, "feature"), "{{bin}}"),
                width=8,
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Difference by bin",
                "By how much the window's share is above the reference's.",
                "percentunit",
                (f"{_shares(ROWS, ONE, 'feature')} - {_reference(REFERENCE, ONE, 'feature')}", "{{bin}}"),
                width=8,
            )
        )
        .with_row(Row("Predictions"))
        .with_panel(
            lines(
                "Predictions by bin",
                "Share of the window's rows, by tenths of the reference's predictions, or by class.",
                "percentunit",
                (_shares(PREDICTED, HERE, ""), "{{bin}}"),
                width=8,
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Reference's predictions by bin",
                "What the model predicted of the rows it was tested on.",
                "percentunit",
                (_reference(PREDICTED_REFERENCE, HERE, ""), "{{bin}}"),
                width=8,
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Population stability index of predictions",
                f"Above 0.2 they have changed a lot. {CHANCE}",
                "short",
                (_index(PREDICTED, PREDICTED_REFERENCE, HERE, ""), "predictions"),
                width=8,
                limit=0.2,
            )
        )
    )
