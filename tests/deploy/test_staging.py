"""The servers of staging, all of them real, in the order of a person's day: use, stop, start, kill, start."""

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import psutil
import psycopg
import pymysql
import pytest
import requests
from botocore.exceptions import ClientError
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from deploy.staging.settings import BUCKET
from millrace import processes
from tests.deploy.running import RunningStaging

NAMES = [
    "ceph-mon",
    "ceph-osd",
    "s3",
    "postgresql",
    "mariadb",
    "zenml",
    "mlflow",
    "alertmanager",
    "prometheus",
]
WRONG = "not-the-secret-of-anyone"
CLIENTS = """
import boto3, mlflow
print(*[bucket["Name"] for bucket in boto3.client("s3").list_buckets()["Buckets"]])
print(mlflow.MlflowClient().get_experiment("0").name)
"""


def s3(staging: RunningStaging, secret: str | None = None) -> Any:
    environment = staging.environment
    return boto3.session.Session().client(
        "s3",
        endpoint_url=environment["MILLRACE_STAGING_S3_ENDPOINT"],
        aws_access_key_id=environment["MILLRACE_STAGING_S3_KEY"],
        aws_secret_access_key=secret or environment["MILLRACE_STAGING_S3_SECRET"],
        region_name="us-east-1",
    )


@pytest.fixture
def mlflow(staging: RunningStaging, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """MLflow's own client, as the stack's user."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", staging.environment["MILLRACE_STAGING_MLFLOW_USER"])
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", staging.environment["MILLRACE_STAGING_MLFLOW_PASSWORD"])
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    return MlflowClient(staging.environment["MILLRACE_STAGING_MLFLOW_URL"])


def zenml_user(staging: RunningStaging, api_key: str | None = None) -> requests.Response:
    """Who the ZenML server says the holder of an API key is."""
    api = f"{staging.environment['MILLRACE_STAGING_ZENML_URL']}/api/v1"
    key = api_key or staging.environment["MILLRACE_STAGING_ZENML_API_KEY"]
    login = requests.post(f"{api}/login", data={"grant_type": "zenml-api-key", "password": key}, timeout=30)
    if not login.ok:
        return login
    token = {"Authorization": f"Bearer {login.json()['access_token']}"}
    return requests.get(f"{api}/current-user", headers=token, timeout=30)


def test_each_server_answers(staging: RunningStaging) -> None:
    status = staging.command("status")
    assert status.returncode == 0, status.stderr
    lines = [line.split() for line in status.stdout.splitlines()]
    assert [(line[0], line[2]) for line in lines] == [(name, "up") for name in NAMES]


def test_a_second_start_changes_nothing(staging: RunningStaging) -> None:
    before = {process.pid for process in staging.processes()}
    again = staging.command("start")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("was up already") == len(NAMES)
    assert before <= {process.pid for process in staging.processes()}


def test_nothing_listens_beyond_loopback(staging: RunningStaging) -> None:
    listening = {
        (process.name(), connection.laddr.ip)
        for process in staging.processes()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN or not connection.raddr
    }
    assert {ip for _, ip in listening} == {"127.0.0.1"}, listening
    assert {"ceph-mon", "ceph-osd", "radosgw", "postgres", "mariadbd", "prometheus"} <= {
        name for name, _ in listening
    }


def test_secrets_are_for_the_owner_alone(staging: RunningStaging) -> None:
    folder = staging.home / "staging"
    lines = (folder / "environment").read_text().splitlines()
    assert dict(line.split("=", 1) for line in lines) == staging.environment
    secrets = [*staging.settings.secrets.values()]
    assert len(set(secrets)) == len(secrets)
    told = staging.command("start").stdout + staging.command("status").stdout
    commands = "\n".join(" ".join(process.cmdline()) for process in staging.processes())
    logs = "\n".join(path.read_text(errors="replace") for path in (folder / "logs").iterdir())
    for name, secret in staging.settings.secrets.items():
        assert secret not in told + commands, name
        assert secret not in logs, name
    for path in readable_by_others(folder):
        content = path.read_bytes()
        assert not any(secret.encode() in content for secret in secrets), path


def test_alertmanager_and_scheduler_share_a_token(staging: RunningStaging) -> None:
    token = staging.home / "scheduler" / "token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    known = token.read_text()
    assert len(known) > 30
    assert (staging.home / "staging" / "alertmanager" / "webhook_token").resolve() == token.resolve()
    staging.stop("alertmanager")
    staging.start("alertmanager")
    assert token.read_text() == known
    log = (staging.home / "staging" / "logs" / "alertmanager.log").read_text()
    assert known not in log


def test_prometheus_watches_service_scheduler_and_alertmanager(staging: RunningStaging) -> None:
    url = staging.settings.url("prometheus")
    targets = requests.get(f"{url}/api/v1/targets", timeout=30).json()["data"]["activeTargets"]
    found = {target["labels"]["job"]: target["labels"]["instance"] for target in targets}
    ports = staging.settings.ports
    assert found == {
        "service": "127.0.0.1:3000",
        "scheduler": "127.0.0.1:3002",
        "alertmanager": f"127.0.0.1:{ports['alertmanager']}",
    }
    groups = requests.get(f"{url}/api/v1/rules", timeout=30).json()["data"]["groups"]
    assert {group["name"] for group in groups} == {"service", "model", "pipelines"}


def readable_by_others(folder: Path) -> list[Path]:
    """Files below `folder` that another user could open."""
    found = []
    for path in folder.iterdir():
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode) and mode & stat.S_IXOTH:
            found += readable_by_others(path)
        elif stat.S_ISREG(mode) and mode & stat.S_IROTH:
            found.append(path)
    return found


def test_env_prints_what_a_shell_takes(staging: RunningStaging) -> None:
    told = staging.command("env")
    assert told.returncode == 0, told.stderr
    printed = dict(line.removeprefix("export ").split("=", 1) for line in told.stdout.splitlines())
    assert printed.keys() == staging.environment.keys() | staging.settings.for_other_programs().keys()
    # With them alone, the clients of S3 and MLflow find the servers.
    bare = {"PATH": os.environ["PATH"], "HOME": str(staging.home)}
    found = subprocess.run(
        ["bash", "-c", f'eval "$0"; exec {sys.executable} -c "$1"', told.stdout, CLIENTS],
        env=bare,
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.splitlines() == [BUCKET, "Default"]


def test_wrong_secrets_are_refused(staging: RunningStaging, mlflow: MlflowClient) -> None:
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        s3(staging, WRONG).list_buckets()
    ports = staging.settings.ports
    for user in ("postgres", "mlflow"):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(host="127.0.0.1", port=ports["postgresql"], user=user, password=WRONG)
    for user in ("root", "zenml", ""):
        with pytest.raises(pymysql.err.OperationalError, match=r"Access denied|not allowed"):
            pymysql.connect(host="127.0.0.1", port=ports["mariadb"], user=user, password=WRONG)
    assert zenml_user(staging, WRONG).status_code in (401, 403)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_PASSWORD", WRONG)
        with pytest.raises(MlflowException, match="error code 401"):
            mlflow.search_experiments()
    url = staging.environment["MILLRACE_STAGING_MLFLOW_URL"]
    for path in ("api/2.0/mlflow/experiments/search?max_results=1", "api/2.0/mlflow-artifacts/artifacts"):
        assert requests.get(f"{url}/{path}", timeout=30).status_code == 401


def test_mlflow_keeps_artifacts_in_the_bucket(staging: RunningStaging, mlflow: MlflowClient) -> None:
    run = mlflow.create_run(mlflow.create_experiment("artifacts"))
    assert run.info.artifact_uri.startswith("mlflow-artifacts:/")
    mlflow.log_text(run.info.run_id, "from a client without a key of the bucket", "note.txt")
    mlflow.set_terminated(run.info.run_id)
    bucket = staging.environment["MILLRACE_STAGING_S3_BUCKET"]
    kept = s3(staging).list_objects_v2(Bucket=bucket, Prefix="mlflow/")["Contents"]
    ours = [item["Key"] for item in kept if run.info.run_id in item["Key"]]
    assert [key.rsplit("/", 1)[-1] for key in ours] == ["note.txt"]


def test_data_is_kept_by_stop_and_start(staging: RunningStaging, mlflow: MlflowClient) -> None:
    remember(staging, mlflow, "stopped")
    running = staging.processes()
    environment = staging.environment
    assert staging.command("stop").returncode == 0
    assert not [process.pid for process in running if is_alive(process)]
    assert staging.command("status").returncode == 1
    assert staging.command("start").returncode == 0
    assert RunningStaging(staging.home).environment == environment
    assert_remembered(staging, mlflow, "stopped")


def test_a_start_mends_what_was_killed(staging: RunningStaging, mlflow: MlflowClient) -> None:
    remember(staging, mlflow, "killed")
    killed = ["ceph-mon", "ceph-osd", "postgresql", "mariadb", "mlflow"]
    for name in killed:
        staging.kill(name)
    # What the killed parent leaves behind does not count.
    assert not any(staging.servers[name].is_up() for name in killed)
    staging.start()
    assert_remembered(staging, mlflow, "killed")


def test_one_server_is_killed_and_started_alone(staging: RunningStaging, mlflow: MlflowClient) -> None:
    others = [name for name in NAMES if name != "s3"]
    before = {name: running(staging, name) for name in NAMES}
    remember(staging, mlflow, "alone")
    staging.kill("s3")
    assert not staging.servers["s3"].is_up()
    staging.start("s3")
    assert running(staging, "s3") != before["s3"]
    assert {name: running(staging, name) for name in others} == {name: before[name] for name in others}
    assert_remembered(staging, mlflow, "alone")


def running(staging: RunningStaging, name: str) -> int:
    """The pid of a server."""
    return processes.running(staging.servers[name].record)[0].pid


def remember(staging: RunningStaging, mlflow: MlflowClient, what: str) -> None:
    """Leave something in each store."""
    s3(staging).put_object(
        Bucket=staging.environment["MILLRACE_STAGING_S3_BUCKET"], Key=what, Body=what.encode() * 100_000
    )
    run = mlflow.create_run(mlflow.create_experiment(what)).info.run_id
    mlflow.log_text(run, what, "note.txt")
    mlflow.set_terminated(run)
    assert zenml_user(staging).json()["name"] == "pipelines"


def assert_remembered(staging: RunningStaging, mlflow: MlflowClient, what: str) -> None:
    """Find it again: the object, the run with its artifact, and the account of the pipelines."""
    bucket = staging.environment["MILLRACE_STAGING_S3_BUCKET"]
    assert s3(staging).get_object(Bucket=bucket, Key=what)["Body"].read() == what.encode() * 100_000
    experiment = mlflow.get_experiment_by_name(what)
    assert experiment is not None
    (run,) = mlflow.search_runs([experiment.experiment_id])
    assert [file.path for file in mlflow.list_artifacts(run.info.run_id)] == ["note.txt"]
    assert zenml_user(staging).json()["name"] == "pipelines"


def is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
