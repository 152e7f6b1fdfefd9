"""How services answer: requests, latency, errors, rows, models, the prediction log."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from deploy.grafana.panels import board, lines, number, variable

HERE = 'instance=~"$instance"'
COUNT = "millrace_request_seconds_count"
TRAINED = "millrace_model_trained_timestamp_seconds"
BUCKET = "millrace_request_seconds_bucket"
API = f'{HERE}, route=~"/v1/.+"'
PREDICT = f'{HERE}, route="/v1/predict"'


def _quantile(q: float) -> str:
    return f"histogram_quantile({q}, sum by (le) (rate({BUCKET}{{{PREDICT}}}[$__rate_interval])))"


def build() -> Dashboard:
    """The dashboard `service`."""
    all_requests = f"sum(rate({COUNT}{{{API}}}[$__rate_interval]))"
    return (
        board("millrace-service", "Millrace: service", "How prediction services answer, process and log.")
        .with_variable(
            variable("instance", "Service", 'label_values(up{job="service"}, instance)', several=True)
        )
        .with_panel(
            number(
                "Services that answer",
                "Services that Prometheus reaches, of those it knows.",
                "short",
                (f'sum(up{{job="service", {HERE}}})', "up"),
            )
        )
        .with_panel(
            number("Requests a second", "Of all routes of the API.", "reqps", (all_requests, "requests"))
        )
        .with_panel(
            number(
                "p99 of predictions",
                "One in a hundred predictions takes longer.",
                "s",
                (_quantile(0.99), "p99"),
                limit=0.5,
            )
        )
        .with_panel(
            number(
                "Age of models",
                "Since training made them; StaleModel fires at 90 days.",
                "dtdurations",
                (
                    f"time() - max by (name, version, variant) ({TRAINED}{{{HERE}}} > 0)",
                    "{{name}} {{version}} {{variant}}",
                ),
                limit=90 * 86400,
            )
        )
        .with_row(Row("Requests"))
        .with_panel(
            lines(
                "Requests by route",
                "Requests a second.",
                "reqps",
                (f"sum by (route) (rate({COUNT}{{{HERE}}}[$__rate_interval]))", "{{route}}"),
            )
        )
        .with_panel(
            lines(
                "Latency of predictions",
                "From a request's arrival to its answer, however many rows it has.",
                "s",
                (_quantile(0.5), "p50"),
                (_quantile(0.99), "p99"),
                limit=0.5,
            )
        )
        .with_panel(
            lines(
                "Answers by status",
                "Share of the API's answers: 4xx are refused, 5xx are the service's faults.",
                "percentunit",
                (
                    f"sum by (status) (rate({COUNT}{{{API}}}[$__rate_interval]))"
                    f" / on () group_left () {all_requests}",
                    "{{status}}",
                ),
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Errors by kind",
                "Share of the API's requests that broke a rule, by the rule.",
                "percentunit",
                (
                    f"sum by (kind) (rate(millrace_errors_total{{{HERE}}}[$__rate_interval])) "
                    f"/ on () group_left () {all_requests} > 0",
                    "{{kind}}",
                ),
                nothing="no errors",
            )
        )
        .with_row(Row("Rows and models"))
        .with_panel(
            lines(
                "Rows by variant",
                "Rows predicted a second.",
                "short",
                (f"sum by (variant) (rate(millrace_rows_total{{{HERE}}}[$__rate_interval]))", "{{variant}}"),
            )
        )
        .with_panel(
            lines(
                "Processes by model",
                "How many processes serve each version: at a swap the lines cross.",
                "short",
                (
                    f"sum by (name, version, variant) (millrace_model_info{{{HERE}}}) > 0",
                    "{{name}} {{version}} {{variant}}",
                ),
            )
        )
        .with_row(Row("Prediction log"))
        .with_panel(
            lines(
                "Rows that wait",
                "In memory; 50,000 a process find place.",
                "short",
                (f"sum by (instance) (millrace_log_queue_rows{{{HERE}}})", "{{instance}}"),
                width=8,
            )
        )
        .with_panel(
            lines(
                "Rows logged",
                "Rows a second.",
                "short",
                (f"sum(rate(millrace_log_rows_total{{{HERE}}}[$__rate_interval]))", "logged"),
                (
                    f"sum(rate(millrace_shadow_skipped_total{{{HERE}}}[$__rate_interval]))",
                    "skipped by the shadow",
                ),
                width=8,
            )
        )
        .with_panel(
            lines(
                "Losses",
                "Rows answered and not logged within five minutes, and processes that cannot write now.",
                "short",
                (f"sum by (reason) (increase(millrace_log_lost_total{{{HERE}}}[5m]))", "lost: {{reason}}"),
                (f"sum by (instance) (millrace_log_failing{{{HERE}}})", "cannot write: {{instance}}"),
                width=8,
            )
        )
    )
