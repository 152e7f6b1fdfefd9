"""Faults of staging before a run: that the run is refused, what it says, and that nothing is written."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import psycopg
import pymysql
import requests

from deploy.staging.object_store import client
from deploy.staging.settings import BUCKET, USER
from tests.conftest import Home
from tests.deploy.running import RunningStaging
from tests.stacks.test_checks import table_rows

SERVERS = ("s3", "mlflow", "postgresql", "zenml", "mariadb")
# Where runs, models, stacks and secrets are kept.
MLFLOW = ("experiments", "runs", "registered_models", "model_versions", "logged_models")
ZENML = ("pipeline_run", "step_run", "artifact_version", "stack", "stack_component", "secret", "model")
# Makes staging faulty for a while, and gives the variables that a run then starts with.
Fault = Callable[[RunningStaging], AbstractContextManager[dict[str, str]]]


def refusal(staging: RunningStaging, home: Home, fault: Fault) -> tuple[int, str, bool]:
    """Start a training at a fault: its exit code, what it found, and whether anything was written."""
    before = stored(staging)
    with fault(staging) as variables:
        changed = Home(home.path, {**home.environment, **variables})
        process = changed.start("--stack=staging")
        _, err = process.communicate(timeout=200)
    faults = [f"{row[2]}; {row[3]}" for row in table_rows(err) if row[1] == "fault"]
    return process.returncode, " ".join(faults), stored(staging) != before


def stored(staging: RunningStaging) -> list[object]:
    """The keys in the bucket, and how many rows the tables of MLflow and ZenML have."""
    ports, secrets = staging.settings.ports, staging.settings.secrets
    pages = client(staging.settings).get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
    with psycopg.connect(
        host="127.0.0.1",
        port=ports["postgresql"],
        user="mlflow",
        password=secrets["mlflow_database"],
        dbname="mlflow",
    ) as runs:
        counts = [runs.execute(f"SELECT count(*) FROM {name}").fetchone() for name in MLFLOW]
    lineage = pymysql.connect(
        host="127.0.0.1", port=ports["mariadb"], user="zenml", password=secrets["mariadb"], database="zenml"
    )
    with lineage, lineage.cursor() as cursor:
        for name in ZENML:
            cursor.execute(f"SELECT count(*) FROM {name}")
            counts.append(cursor.fetchone())
    return [keys, *counts]


@contextmanager
def _set(staging: RunningStaging, **variables: str) -> Iterator[dict[str, str]]:  # noqa: ARG001
    yield {f"MILLRACE_STAGING_{name}": value for name, value in variables.items()}


@contextmanager
def _read_only(staging: RunningStaging) -> Iterator[dict[str, str]]:
    s3 = client(staging.settings)
    denied = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:PutObject", "s3:DeleteObject"],
        "Resource": [f"arn:aws:s3:::{BUCKET}/*"],
    }
    s3.put_bucket_policy(Bucket=BUCKET, Policy=json.dumps({"Version": "2012-10-17", "Statement": [denied]}))
    try:
        yield {}
    finally:
        s3.delete_bucket_policy(Bucket=BUCKET)


@contextmanager
def _deactivated(staging: RunningStaging) -> Iterator[dict[str, str]]:
    """A key of ZenML that was good a moment ago."""
    api = f"{staging.settings.url('zenml')}/api/v1"
    account = {"username": USER, "password": staging.settings.secrets["zenml"]}
    with requests.Session() as session:
        token = session.post(f"{api}/login", data=account, timeout=30).json()["access_token"]
        session.headers["Authorization"] = f"Bearer {token}"
        accounts = session.get(f"{api}/service_accounts?name=pipelines", timeout=30).json()["items"]
        keys = f"{api}/service_accounts/{accounts[0]['id']}/api_keys"
        made = session.post(keys, json={"name": "soon-gone"}, timeout=30).json()
        session.put(f"{keys}/{made['id']}", json={"active": False}, timeout=30).raise_for_status()
        yield {"MILLRACE_STAGING_ZENML_API_KEY": made["body"]["key"]}
        session.delete(f"{keys}/{made['id']}", timeout=30).raise_for_status()


@contextmanager
def _down(staging: RunningStaging, server: str) -> Iterator[dict[str, str]]:
    staging.stop(server)
    try:
        yield {}
    finally:
        staging.start(server)


FAULTS: dict[str, Fault] = {
    "wrong secret of S3": partial(_set, S3_SECRET="wrong"),
    "unknown key of S3": partial(_set, S3_KEY="UNKNOWN"),
    "absent bucket": partial(_set, S3_BUCKET="absent"),
    "bucket that may only be read": _read_only,
    "wrong password of MLflow": partial(_set, MLFLOW_PASSWORD="wrong-password"),
    "expired key of ZenML": _deactivated,
    **{
        f"{name} down": partial(_down, server=name)
        for name in ("s3", "mlflow", "postgresql", "zenml", "mariadb")
    },
}
