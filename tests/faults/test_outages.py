"""Servers of staging lost under trainings: two cases of the many that `make faults` tries."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from tests.conftest import Home
from tests.deploy.running import RunningStaging
from tests.faults.outages import Outage, assert_whole, client, state, train


def test_runs_that_lose_servers_go_on_and_two_at_once_are_both_whole(
    staging: RunningStaging, tmp_path: Path
) -> None:
    home, other = (client(staging, tmp_path / name) for name in ("home", "other"))
    # Killed for longer than this client has patience.
    hasty = Home(home.path, {**home.environment, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"})
    lost = train(staging, hasty, "--set=seed=21", outage=Outage("mlflow", "register", 8))
    assert lost.code == 2
    url = staging.environment["MILLRACE_STAGING_MLFLOW_URL"]
    assert lost.said.startswith(f"error: MLflow at {url} did not answer, or failed, during the run.")
    assert "the same command goes on" in lost.said
    assert state(home)["versions"] == []

    # The same command goes on, beside another machine's run, while S3 is away for less than they wait.
    paths = [tmp_path / f"{number}.json" for number in range(2)]
    one, two = ([f"--summary={path}"] for path in paths)
    with ThreadPoolExecutor(2) as pool:
        second = pool.submit(train, staging, other, "--set=seed=22", "--set=candidates.linear.alpha=5", *two)
        first = pool.submit(train, staging, home, "--set=seed=21", *one, outage=Outage("s3", "register", 8))
    outcomes = first.result(), second.result()
    assert [each.code for each in outcomes] == [0, 0], outcomes
    assert outcomes[0].cached == 13
    found = state(home)
    assert_whole(found)
    assert found["versions"] == ["1", "2"]
    assert found["runs"] == {"completed": 2, "failed": 1}
    # Each was judged against the champion of its moment: the later one against what the earlier has left.
    earlier, later = sorted(
        (json.loads(path.read_text()) for path in paths), key=lambda summary: summary["champion_before"] or ""
    )
    assert (earlier["promoted"], earlier["champion_before"]) == (True, None)
    assert later["champion_before"] == earlier["model_version"]
    assert found["champion"] == (later if later["promoted"] else earlier)["model_version"]


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
