"""Whether a model is still what it was: the verdicts of monitoring, and what it predicts."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from deploy.grafana.panels import band, board, lines, number, variable

PROBLEM = 'problem="$problem"'
PREDICTED = 'millrace_prediction_rows_total{instance=~"$instance"}'
METRIC = f'{PROBLEM}, metric="$metric"'


def _bound(name: str, bound: str) -> str:
    return f'max by (bound) (millrace_{name}{{{METRIC}, bound="{bound}"}})'


def build() -> Dashboard:
    """The dashboard `model`."""
    performance = lines(
        "Performance beside holdout and estimate",
        "Measured, with its interval, on rows whose outcomes came; what training measured on its holdout; "
        "and an estimate for all rows, of the primary metric alone, which is no measurement.",
        "short",
        (_bound("performance", "value"), "measured"),
        (_bound("performance", "low"), "low"),
        (_bound("performance", "high"), "high"),
        (_bound("performance_holdout", "value"), "holdout"),
        (_bound("performance_estimate", "value"), "estimate"),
        (_bound("performance_estimate", "low"), "estimate, low"),
        (_bound("performance_estimate", "high"), "estimate, high"),
        width=24,
    )
    return (
        board("millrace-model", "Millrace: model", "Whether a model is still what it was.")
        .with_variable(
            variable("problem", "Problem", "label_values(millrace_monitoring_timestamp_seconds, problem)")
        )
        .with_variable(
            variable("metric", "Metric", f"label_values(millrace_performance_holdout{{{PROBLEM}}}, metric)")
        )
        .with_variable(
            variable(
                "instance",
                "Service",
                'label_values(millrace_model_info{name="$problem"}, instance)',
                several=True,
            )
        )
        .with_panel(
            number(
                "Verdict on drift",
                "The last verdict on inputs and predictions, and on which version.",
                "none",
                (
                    f"max by (status, version) (millrace_drift_status{{{PROBLEM}}}) == 1",
                    "{{status}}, version {{version}}",
                ),
                named=True,
            )
        )
        .with_panel(
            number(
                "Verdict on decay",
                "The last verdict on performance, and on which version.",
                "none",
                (
                    f"max by (status, version) (millrace_decay_status{{{PROBLEM}}}) == 1",
                    "{{status}}, version {{version}}",
                ),
                named=True,
            )
        )
        .with_panel(
            number(
                "Age of the verdict",
                "Since the judged window ended; StaleMonitoring fires at 26 hours.",
                "dtdurations",
                (f"time() - max(millrace_monitoring_timestamp_seconds{{{PROBLEM}}})", "age"),
                limit=26 * 3600,
            )
        )
        .with_panel(
            number(
                "Alerts",
                "What fires about this problem: docs/alerts.md says what to do.",
                "none",
                (f'count by (alertname) (ALERTS{{alertstate="firing", {PROBLEM}}})', "{{alertname}}"),
                named=True,
                nothing="none",
            )
        )
        .with_row(Row("Drift"))
        .with_panel(
            lines(
                "Drift by column",
                "Above 1 a column has drifted. Few windows without drift get there, of any size.",
                "short",
                (f"max by (column) (millrace_drift_score{{{PROBLEM}}})", "{{column}}"),
                limit=1,
            )
        )
        .with_panel(
            lines(
                "Distance by column",
                "How far the window is from the reference: 0 for equal, up to 1. It may be chance.",
                "percentunit",
                (f"max by (column) (millrace_drift_distance{{{PROBLEM}}})", "{{column}}"),
            )
        )
        .with_panel(
            lines(
                "Verdicts",
                "1 while there is drift, or decay.",
                "short",
                (
                    f'max by (version) (millrace_drift_status{{{PROBLEM}, status="drift"}})',
                    "drift, version {{version}}",
                ),
                (
                    f'max by (version) (millrace_decay_status{{{PROBLEM}, status="decay"}})',
                    "decay, version {{version}}",
                ),
            )
        )
        .with_panel(
            lines(
                "Rows that were judged",
                "Of the window, and those whose outcome came in it.",
                "short",
                (f"max(millrace_window_rows{{{PROBLEM}}})", "rows"),
                (f"max(millrace_window_labelled_rows{{{PROBLEM}}})", "with outcomes"),
            )
        )
        .with_row(Row("Performance"))
        .with_panel(band(performance, "low", "high", "holdout|estimate.*"))
        .with_row(Row("Predictions"))
        .with_panel(
            lines(
                "Predictions by version",
                "Rows a second, by the version and the variant that answered.",
                "short",
                (
                    f"sum by (version, variant) (rate({PREDICTED}[$__rate_interval]))",
                    "version {{version}}, {{variant}}",
                ),
                width=24,
            )
        )
    )
