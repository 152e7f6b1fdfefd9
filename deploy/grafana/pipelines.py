"""What runs by itself: how pipelines ended, and the scheduler's queue."""

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from deploy.grafana.panels import bars, board, lines, number, variable

PROBLEM = 'problem=~"$problem"'
LABELS = "stack, pipeline, problem"
RUN = "{{pipeline}} of {{problem}} on {{stack}}"


def _since(outcome: str) -> str:
    ends = f'millrace_pipeline_end_timestamp_seconds{{outcome="{outcome}", {PROBLEM}}}'
    return f"time() - max by ({LABELS}) ({ends})"


def build() -> Dashboard:
    """The dashboard `pipelines`."""
    return (
        board(
            "millrace-pipelines", "Millrace: pipelines", "How pipelines ended, and what the scheduler does."
        )
        .with_variable(
            variable("problem", "Problem", "label_values(millrace_pipeline_failed, problem)", several=True)
        )
        .with_panel(
            number(
                "Failed",
                "Pipelines whose last run failed: PipelineFailed says what to do.",
                "none",
                (f"max by ({LABELS}) (millrace_pipeline_failed{{{PROBLEM}}}) == 1", RUN),
                named=True,
                nothing="none",
                limit=1,
            )
        )
        .with_panel(
            number(
                "Scheduler answers",
                "1 while the scheduler answers.",
                "short",
                ('min(up{job="scheduler"})', "up"),
            )
        )
        .with_panel(
            number(
                "Jobs that wait",
                "Jobs run one after the other.",
                "short",
                ("sum(millrace_jobs_waiting)", "waiting"),
            )
        )
        .with_panel(
            number(
                "Next jobs",
                "How long until a schedule comes.",
                "dtdurations",
                ("min by (name) (millrace_schedule_next_timestamp_seconds) - time()", "{{name}}"),
            )
        )
        .with_row(Row("Pipelines"))
        .with_panel(
            lines(
                "Failed runs",
                "1 while the last run of a pipeline is a failed one.",
                "short",
                (f"max by ({LABELS}) (millrace_pipeline_failed{{{PROBLEM}}})", RUN),
            )
        )
        .with_panel(
            lines(
                "Seconds",
                "What the last run of each pipeline took.",
                "s",
                (f"max by ({LABELS}) (millrace_pipeline_seconds{{{PROBLEM}}})", RUN),
            )
        )
        .with_panel(
            bars(
                "Since the last completed run", "Of each pipeline.", "dtdurations", (_since("completed"), RUN)
            )
        )
        .with_panel(
            bars(
                "Since the last failed run",
                "Of each pipeline that has ever failed.",
                "dtdurations",
                (_since("failed"), RUN),
            )
        )
        .with_row(Row("Scheduler"))
        .with_panel(
            lines("Queue", "Jobs that wait.", "short", ("sum(millrace_jobs_waiting)", "waiting"), width=8)
        )
        .with_panel(
            lines(
                "The job that runs",
                "For how long it has done so.",
                "s",
                ("time() - max by (name) (millrace_job_start_timestamp_seconds)", "{{name}}"),
                width=8,
                nothing="none",
            )
        )
        .with_panel(
            lines(
                "Seconds of jobs",
                "What the last job of each name took.",
                "s",
                ("max by (name) (millrace_job_seconds)", "{{name}}"),
                width=8,
            )
        )
        .with_panel(
            lines(
                "Jobs by outcome",
                "Jobs that ended within an hour.",
                "short",
                ("sum by (name, outcome) (increase(millrace_jobs_total[1h]))", "{{name}}: {{outcome}}"),
            )
        )
        .with_panel(
            lines(
                "Alerts that came",
                "To the scheduler within an hour, by what became of them.",
                "short",
                ("sum by (outcome) (increase(millrace_alerts_received_total[1h]))", "{{outcome}}"),
            )
        )
    )
