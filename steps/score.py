"""A registered model asked for every row of a table of any length."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import pandas as pd
from zenml import get_step_context, log_metadata, step
from zenml.types import HTMLString

from millrace.batch import BatchSettings, Job, Manifest, Output, report, run_job
from millrace.batch.job import Progress
from millrace.bundle import Bundle, load_bundle
from millrace.engine import EngineName
from millrace.errors import UserError, unknown
from millrace.prediction_log import LogSettings, ModelName
from millrace.registry import CHALLENGER, CHAMPION, Registration, Registry
from millrace.sources import Source
from millrace.sources.streams import find_parts
from millrace.strict import Strict
from stacks.environment import home
from stacks.tracking import tracking_uri
from steps.ingest import read_secret
from steps.materializers import ShownTableMaterializer
from steps.tune import LINE_EVERY, duration


class Scoring(Strict):
    """What is to be scored and said, and where it goes; `level` is that of intervals, None for none."""

    source: Source
    output: str
    level: float | None
    explain: bool
    overwrite: bool
    engine: EngineName
    scheduler: str | None
    settings: BatchSettings


# Never cached: who is champion is not an input, it is the state of the registry at this moment.
@step(enable_cache=False)
def choose_model(problem: str, model: str) -> Annotated[Registration, "model"]:
    """Look up the version that is asked for, by its number or by an alias."""
    registry = Registry(problem, tracking_uri())
    versions = {version.version: version for version in registry.versions()}
    if not versions:
        raise UserError(
            f"There is no model of '{problem}' on this stack; train one: "
            f"python run.py --pipeline training --problem {problem}"
        )
    if model not in (CHAMPION, CHALLENGER):
        if model not in versions:
            raise unknown(f"version of '{problem}':", model, [CHAMPION, CHALLENGER, *versions])
        return versions[model]
    found = registry.with_alias(model)
    if found is None:
        raise UserError(f"'{problem}' has no {model}; name a version by --model: {', '.join(versions)}.")
    return found


# Never cached: the input and the output are the world, not artifacts.
@step(
    enable_cache=False,
    output_materializers={"sample": ShownTableMaterializer, "quarantine_sample": ShownTableMaterializer},
)
def score(
    chosen: Registration, asked: Scoring
) -> tuple[
    Annotated[Manifest, "manifest"],
    Annotated[pd.DataFrame, "sample"],
    Annotated[pd.DataFrame, "quarantine_sample"],
    Annotated[HTMLString, "inference_page"],
]:
    """Score the input, publish the output, and keep some rows of it."""
    settings, bundle = asked.settings, load_chosen(chosen)
    problem = bundle.problem
    every = settings.columns == "all" or (settings.columns == "auto" and problem.key is None)
    parts = find_parts(asked.source, home() / "cache", problem.features, every, read_secret)
    job = Job(
        origin=asked.source.origin,
        parts=parts,
        bundle=bundle,
        model=ModelName(chosen.name, chosen.version, chosen.digest),
        settings=settings,
        level=asked.level,
        explain=asked.explain,
        log=_log(settings, chosen.name),
        engine=asked.engine,
        scheduler=asked.scheduler,
    )
    output = Output(asked.output, read_secret)
    progress = Lines("score")
    run = get_step_context().pipeline_run.name
    manifest = run_job(job, output, run, asked.overwrite, progress)
    progress.close(manifest)
    log_metadata(
        {
            "input": manifest.input,
            "output": output.uri,
            "model_version": manifest.version,
            "bundle_digest": manifest.bundle_digest,
            "job": manifest.job,
            "engine": asked.engine,
            "digest": manifest.digest,
            **{f"rows_{name}": count for name, count in manifest.rows.model_dump().items()},
            "partitions": len(manifest.partitions),
            "files_left_out": [file.name for file in manifest.set_aside],
            "logged_rows": manifest.logged.rows,
        },
        artifact_name="manifest",
        infer_artifact=True,
    )
    shown = report.sample(manifest, output, settings.sample_rows)
    refused = report.quarantine(manifest, output, settings.sample_rows)
    page = report.page(manifest, problem, output.uri, shown)
    return manifest, shown, refused, HTMLString(page)


def load_chosen(chosen: Registration) -> Bundle:
    """The version's bundle, verified to be the one that was registered."""
    bundle = load_bundle(Registry(chosen.name, tracking_uri()).fetch_bundle(chosen.version, home() / "cache"))
    if bundle.digest != chosen.digest:
        raise UserError(
            f"{bundle.folder}: holds the bundle {bundle.digest[:12]}, and version {chosen.version} of "
            f"'{chosen.name}' was registered with {chosen.digest[:12]}; train the model again."
        )
    return bundle


def _log(settings: BatchSettings, name: str) -> LogSettings | None:
    """The prediction log to write to: unless the settings say so, that of a service on this machine."""
    if settings.log == "off" or not settings.log_rows:
        return None
    return LogSettings(uri=settings.log) if settings.log is not None else service_log(name)


def service_log(name: str) -> LogSettings | None:
    """The prediction log of a service on this machine; None where it is off."""
    from bentos.settings import from_environment

    return from_environment().log_settings(name, Path(os.environ["BENTOML_HOME"]))


def log_uri(named: str | None, name: str) -> str:
    """The prediction log to read: the one that settings have named, else that of a service on this machine.

    Raises:
        UserError: that service keeps none.
    """
    if named is not None:
        return named
    log = service_log(name)
    if log is None:
        raise UserError("MILLRACE_SERVE_LOG is 'off'; name a log by --set log=URI.")
    return log.uri


class Lines:
    """A line on standard error every few seconds: rows, rows a second, and what time there is left."""

    def __init__(self, step: str) -> None:
        self.step = step
        self.began = self.said = time.monotonic()
        self.first: float | None = None
        self.rows = 0

    def __call__(self, progress: Progress) -> None:
        """Say how far the job is, unless that was said a moment ago."""
        now = time.monotonic()
        if self.first is None:
            # Of the share, what earlier runs did took none of this one's time.
            self.first = progress.share
        self.rows = progress.rows
        if now - self.said < LINE_EVERY:
            return
        self.said = now
        gained = progress.share - self.first
        left = (1 - progress.share) * (now - self.began) / gained if gained > 0 else float("inf")
        remaining = f", {duration(left)} left" if left < float("inf") else ""
        self._line(f"{self.rows:,} rows, {self._rate(now)} rows/s, {progress.share:.0%} done{remaining}")

    def close(self, manifest: Manifest) -> None:
        """Say what came of it."""
        rows = manifest.rows
        earlier = rows.read - self.rows
        self._line(
            f"{rows.read:,} rows = {rows.scored:,} scored + {rows.quarantined:,} in quarantine"
            + (f"; {earlier:,} by an earlier run" if earlier > 0 else "")
            + f"; {self._rate(time.monotonic())} rows/s"
        )

    def _rate(self, now: float) -> str:
        return f"{self.rows / max(now - self.began, 1e-9):,.0f}"

    def _line(self, text: str) -> None:
        print(f"  {self.step}: {text}", file=sys.stderr, flush=True)
