"""Terraform's staging, applied to moto: what there is then, and what stacks and targets get of it."""

import json
import os
import re
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from deploy.cloud.variables import write_variables
from millrace.errors import UserError
from stacks.environment import home
from stacks.stack_files import load_stack_file
from stacks.variables import read_environment
from tests.bentos.running import free_port
from tests.conftest import ROOT
from tests.deploy.clouds import DIGEST
from tests.deploy.running import RunningStaging
from tests.targets.staging_cloud import Cloud


@pytest.fixture
def state(cloud: Cloud) -> dict[str, Any]:
    """Terraform's state, as it is in a file."""
    found: dict[str, Any] = json.loads((cloud.terraform.root / cloud.where / "terraform.tfstate").read_text())
    return found


def test_the_bucket_is_versioned_encrypted_and_private(cloud: Cloud) -> None:
    s3, bucket = cloud.client("s3"), "millrace-staging-artifacts"
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    [rule] = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    [statement] = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    assert (statement["Effect"], statement["Condition"]) == (
        "Deny",
        {"Bool": {"aws:SecureTransport": "false"}},
    )


def test_tags_of_images_stay_what_they_are(cloud: Cloud) -> None:
    repositories = cloud.client("ecr").describe_repositories()["repositories"]
    assert {each["repositoryName"] for each in repositories} == {
        "millrace-staging/runner",
        "millrace-staging/iris",
    }
    for each in repositories:
        assert each["imageTagMutability"] == "IMMUTABLE"
        assert each["imageScanningConfiguration"]["scanOnPush"] is True


def test_no_password_is_in_the_state(cloud: Cloud, state: dict[str, Any]) -> None:
    secrets = cloud.client("secretsmanager")
    kept = {
        each["Name"]: secrets.get_secret_value(SecretId=each["Name"])["SecretString"]
        for each in secrets.list_secrets()["SecretList"]
        # RDS' own has no value in moto.
        if each["Name"].startswith("millrace-staging/")
    }
    assert set(kept) == {"millrace-staging/mlflow/password", "millrace-staging/mlflow/session"}
    assert len(set(kept.values())) == 2
    text = json.dumps(state)
    for value in kept.values():
        assert re.fullmatch("[0-9a-f]{64}", value)
        assert value not in text
    [database] = [each for each in state["resources"] if each["type"] == "aws_db_instance"]
    attributes = database["instances"][0]["attributes"]
    assert attributes["manage_master_user_password"] is True
    assert attributes["password"] is None


def test_the_stack_has_its_variables(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home() / "staging" / "environment"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    written = read_environment(path)
    secret = cloud.client("secretsmanager").get_secret_value(SecretId="millrace-staging/mlflow/password")
    assert written["MILLRACE_STAGING_MLFLOW_PASSWORD"] == secret["SecretString"]
    assert written["MILLRACE_STAGING_MLFLOW_URL"] == "https://mlflow.staging.example.org"
    # ZenML's server is not Terraform's: its key is all that is missing.
    with pytest.raises(UserError, match=r"are set neither .*: MILLRACE_STAGING_ZENML_API_KEY\.$"):
        load_stack_file("staging", ROOT / "configs" / "stacks")
    monkeypatch.setenv("MILLRACE_STAGING_ZENML_API_KEY", "ZENKEY_x")
    stack = load_stack_file("staging", ROOT / "configs" / "stacks")
    store = stack.components["artifact_store"].configuration
    assert store["path"] == "s3://millrace-staging-artifacts/zenml"
    assert store["client_kwargs"]["endpoint_url"] == "https://s3.eu-central-1.amazonaws.com"


def test_the_key_is_that_of_the_pipelines_user_and_stays(cloud: Cloud) -> None:
    path = home() / "staging" / "environment"
    first = read_environment(path)
    iam = cloud.client("iam")
    keys = iam.list_access_keys(UserName="millrace-staging-pipelines")["AccessKeyMetadata"]
    assert [key["AccessKeyId"] for key in keys] == [first["MILLRACE_STAGING_S3_KEY"]]
    path.write_text(path.read_text() + "MILLRACE_STAGING_ZENML_API_KEY=ours\n")
    said = write_variables("staging", cloud.terraform.outputs(cloud.where))
    assert read_environment(path) == {**first, "MILLRACE_STAGING_ZENML_API_KEY": "ours"}
    assert not [line for line in said if "missing" in line]
    # Taken back by somebody: there is another one.
    iam.delete_access_key(UserName="millrace-staging-pipelines", AccessKeyId=first["MILLRACE_STAGING_S3_KEY"])
    write_variables("staging", cloud.terraform.outputs(cloud.where))
    assert read_environment(path)["MILLRACE_STAGING_S3_KEY"] != first["MILLRACE_STAGING_S3_KEY"]


def test_servers_of_this_machine_keep_their_addresses(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path))
    (tmp_path / "staging").mkdir()
    (tmp_path / "staging" / "settings.json").write_text("{}")
    with pytest.raises(UserError, match="has the servers of `make staging`"):
        write_variables("staging", cloud.terraform.outputs(cloud.where))
    assert not (tmp_path / "staging" / "environment").exists()


def test_mlflow_runs_in_the_pipelines_image(cloud: Cloud) -> None:
    made = cloud.client("ecs").describe_task_definition(taskDefinition="millrace-staging-mlflow")
    [container] = made["taskDefinition"]["containerDefinitions"]
    assert container["image"].endswith(f"millrace-staging/runner@{DIGEST}")
    clear = {each["name"] for each in container["environment"]}
    assert not [name for name in clear if "PASSWORD" in name or "SECRET" in name]
    assert {each["name"] for each in container["secrets"]} == {
        *("PGPASSWORD", "MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY")
    }


def test_mlflow_starts_by_that_command(cloud: Cloud, tmp_path: Path) -> None:
    """On PostgreSQL, with a password that would have to be written otherwise in a URL; without TLS here."""
    made = cloud.client("ecs").describe_task_definition(taskDefinition="millrace-staging-mlflow")
    [container] = made["taskDefinition"]["containerDefinitions"]
    # As root PostgreSQL runs as a user who may not enter pytest's folders.
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    servers = RunningStaging(folder)
    try:
        servers.start("postgresql")
        place = {"host": "127.0.0.1", "port": servers.settings.ports["postgresql"]}
        known = servers.settings.secrets["mlflow_database"]
        with psycopg.connect(**place, user="mlflow", dbname="mlflow", password=known) as connection:
            connection.execute("ALTER ROLE mlflow PASSWORD 'a/b:c@d#e%'")
        port = free_port()
        here = {
            "HOME": str(tmp_path),
            "TMPDIR": str(tmp_path),
            "PGHOST": "127.0.0.1",
            "PGPORT": str(place["port"]),
            "PGPASSWORD": "a/b:c@d#e%",
            "PGSSLMODE": "disable",
            "MLFLOW_AUTH_CONFIG_PATH": str(tmp_path / "accounts.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": "0123456789abcdef",
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "a key of sessions",
        }
        environment = {each["name"]: each["value"] for each in container["environment"]}
        [script] = container["command"]
        assert "--host 0.0.0.0 --port 5000" in script
        script = script.replace("--host 0.0.0.0 --port 5000", f"--host 127.0.0.1 --port {port}")
        with (tmp_path / "log").open("w") as log:
            server = subprocess.Popen(
                [*container["entryPoint"], script],
                cwd=ROOT,
                env={**environment, **here, "PATH": os.environ["PATH"]},
                stdout=log,
                stderr=log,
            )
        try:
            # The load balancer's health check knows no name, and comes through.
            _wait_for(lambda: _status(f"http://127.0.0.1:{port}/health") == 200, server)
            question = f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=1"
            named = {"Host": "mlflow.staging.example.org"}
            assert _status(question, headers=named, auth=("millrace", "0123456789abcdef")) == 200
            assert _status(question, headers=named, auth=("millrace", "another password")) == 401
            assert _status(question, auth=("millrace", "0123456789abcdef")) == 403
        finally:
            server.terminate()
            server.wait()
    finally:
        servers.stop()
        shutil.rmtree(folder)


def _status(url: str, **options: Any) -> int | None:
    try:
        return httpx.get(url, timeout=10, trust_env=False, **options).status_code
    except httpx.HTTPError:
        return None


def _wait_for(ready: Callable[[], bool], server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while not ready():
        assert server.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.5)
