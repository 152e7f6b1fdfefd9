"""Servers of staging lost under trainings: two cases of the many that `make faults` tries."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.conftest import Home
from tests.deploy.running import RunningStaging, running_staging
from tests.faults.outages import Outage, assert_whole, client, state, train


@pytest.fixture(scope="module")
def staging() -> Iterator[RunningStaging]:
    with running_staging() as started:
        yield started


@pytest.fixture
def home(staging: RunningStaging, tmp_path: Path) -> Home:
    return client(staging, tmp_path / "home")


def test_two_train_at_once_while_s3_is_killed_and_both_are_whole(
    staging: RunningStaging, home: Home, tmp_path: Path
) -> None:
    other = client(staging, tmp_path / "other")
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(train, staging, home, "--set=seed=21", outage=Outage("s3", "fit_best", 8))
        two = pool.submit(train, staging, other, "--set=seed=22", "--set=candidates.linear.alpha=5")
    assert [one.result().code, two.result().code] == [0, 0], (one.result().said, two.result().said)
    found = state(home)
    assert_whole(found)
    assert found["versions"] == ["1", "2"]
    assert found["runs"] == {"completed": 2}


def test_a_run_that_loses_a_server_names_it_and_the_same_command_goes_on(
    staging: RunningStaging, home: Home
) -> None:
    # Killed for longer than this client has patience.
    hasty = Home(home.path, {**home.environment, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"})
    before = state(home)["versions"]
    found = train(staging, hasty, "--set=seed=31", outage=Outage("mlflow", "register", 8))
    assert found.code == 2
    url = staging.environment["MILLRACE_STAGING_MLFLOW_URL"]
    assert found.said.startswith(f"error: MLflow at {url} did not answer, or failed, during the run.")
    assert "the same command goes on" in found.said
    assert state(home)["versions"] == before
    again = train(staging, home, "--set=seed=31")
    assert (again.code, again.cached) == (0, 13)
    after = state(home)
    assert_whole(after)
    assert len(after["versions"]) == len(before) + 1


def test_what_s3_acknowledged_outlives_its_kill(staging: RunningStaging) -> None:
    environment = staging.environment
    bucket = environment["MILLRACE_STAGING_S3_BUCKET"]
    acknowledged: dict[str, bytes] = {}
    killed = threading.Event()

    def s3(attempts: int) -> "boto3.client":
        return boto3.session.Session().client(
            "s3",
            endpoint_url=environment["MILLRACE_STAGING_S3_ENDPOINT"],
            aws_access_key_id=environment["MILLRACE_STAGING_S3_KEY"],
            aws_secret_access_key=environment["MILLRACE_STAGING_S3_SECRET"],
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": attempts}),
        )

    def write(writer: int) -> int:
        mine, number, lost = s3(1), 0, 0
        while not killed.is_set() or lost == 0:
            key, body = f"kill/{writer}-{number}", f"{writer} {number} ".encode() * 20_000
            number += 1
            try:
                mine.put_object(Bucket=bucket, Key=key, Body=body)
            except (BotoCoreError, ClientError):
                lost += 1
            else:
                acknowledged[key] = body
                if len(acknowledged) == 60:
                    staging.kill("s3")
                    staging.kill("ceph-osd")
                    killed.set()
        return lost

    with ThreadPoolExecutor(4) as pool:
        assert all(lost > 0 for lost in pool.map(write, range(4)))
    staging.start("ceph-osd", "s3")
    assert len(acknowledged) >= 60
    reader = s3(5)
    for key, body in acknowledged.items():
        assert reader.get_object(Bucket=bucket, Key=key)["Body"].read() == body, key
