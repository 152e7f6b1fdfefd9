"""The servers of a staging stack as plain processes: S3 by moto, MLflow with basic auth, ZenML's server."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, VARIABLES

BUCKET = "millrace"
READER = {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}
WRITER = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}


@dataclass(frozen=True)
class Servers:
    """Running servers and, as a stack file asks for them, the variables that lead to them.

    `reader` is an access key that may read the bucket and not write to it.
    """

    environment: dict[str, str] = field(repr=False)
    reader: tuple[str, str] = field(repr=False)
    admin: str = field(repr=False)

    def s3(self) -> Any:
        """A plain S3 client."""
        keys = [self.environment[f"MILLRACE_STAGING_S3_{name}"] for name in ("KEY", "SECRET")]
        return _client("s3", self.environment["MILLRACE_STAGING_S3_ENDPOINT"], *keys)

    def for_other_programs(self) -> dict[str, str]:
        """The variables that S3's own clients look for."""
        given = {"ENDPOINT_URL": "ENDPOINT", "ACCESS_KEY_ID": "KEY", "SECRET_ACCESS_KEY": "SECRET"}
        found = {f"AWS_{theirs}": self.environment[f"MILLRACE_STAGING_S3_{n}"] for theirs, n in given.items()}
        return {**found, "AWS_DEFAULT_REGION": "us-east-1"}

    def zenml(self, path: str, body: dict[str, Any], method: str = "POST") -> Any:
        """Ask the ZenML server's API as its administrator."""
        return _ask(self.environment["MILLRACE_STAGING_ZENML_URL"], path, self.admin, body, method)


@contextmanager
def serve(folder: Path) -> Iterator[Servers]:
    """Start all three with their data in `folder`, wait until they answer, and stop them at the end."""
    with ExitStack() as running:

        def start(name: str, how: Any) -> str:
            return running.enter_context(_started(folder, name, how))

        with ThreadPoolExecutor() as pool:
            endpoint, mlflow, zenml = pool.map(start, ("s3", "mlflow", "zenml"), (_moto, _mlflow, _zenml))
        writer, reader = _bucket_with_keys(endpoint)
        token, key = _service_account(zenml)
        yield Servers(
            {
                "MILLRACE_STAGING_S3_ENDPOINT": endpoint,
                "MILLRACE_STAGING_S3_BUCKET": BUCKET,
                "MILLRACE_STAGING_S3_KEY": writer[0],
                "MILLRACE_STAGING_S3_SECRET": writer[1],
                "MILLRACE_STAGING_MLFLOW_URL": mlflow,
                "MILLRACE_STAGING_MLFLOW_USER": "admin",
                "MILLRACE_STAGING_MLFLOW_PASSWORD": PASSWORD,
                "MILLRACE_STAGING_ZENML_URL": zenml,
                "MILLRACE_STAGING_ZENML_API_KEY": key,
            },
            reader,
            token,
        )


PASSWORD = secrets.token_urlsafe(16)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _moto(_: Path, port: int) -> tuple[list[str], dict[str, str], str]:
    return ["-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], {}, "/moto-api/"


def _mlflow(folder: Path, port: int) -> tuple[list[str], dict[str, str], str]:
    (folder / "auth.ini").write_text(
        "[mlflow]\ndefault_permission = READ\nadmin_username = admin\n"
        f"database_uri = sqlite:///{folder}/auth.db\n"
        # Otherwise each request pays 0.3 s for hashing the password.
        "auth_cache_ttl_seconds = 60\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    environment = {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_urlsafe(16),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    command = ["-m", "mlflow", "server", "--app-name", "basic-auth", "--host", "127.0.0.1", "--workers", "1"]
    stores = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder)]
    return [*command, "--port", str(port), *stores], environment, "/health"


def _zenml(folder: Path, port: int) -> tuple[list[str], dict[str, str], str]:
    environment = {
        "ZENML_SERVER": "true",
        "ZENML_CONFIG_PATH": str(folder),
        "ZENML_LOCAL_STORES_PATH": str(folder),
        "ZENML_STORE_URL": f"sqlite:///{folder}/zenml.db",
        "ZENML_SERVER_AUTO_ACTIVATE": "1",
        "ZENML_DEFAULT_USER_NAME": "admin",
        "ZENML_DEFAULT_USER_PASSWORD": PASSWORD,
        "ZENML_SERVER_JWT_SECRET_KEY": secrets.token_urlsafe(32),
        "ZENML_LOGGING_VERBOSITY": "ERROR",
    }
    app = ["-m", "uvicorn", "tests.stacks.zenml_app:app", "--log-level", "error"]
    return [*app, "--host", "127.0.0.1", "--port", str(port)], environment, "/health"


@contextmanager
def _started(folder: Path, name: str, how: Any) -> Iterator[str]:
    """A server of this Python, once it answers; yields its URL."""
    port = free_port()
    place = folder / name
    place.mkdir(parents=True)
    command, environment, health = how(place, port)
    inherited = {
        key: value
        for key, value in os.environ.items()
        if key not in VARIABLES and not key.startswith(("ZENML_", "AWS_"))
    }
    quiet = {"ZENML_ANALYTICS_OPT_IN": "false", "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": str(ROOT)}
    with (place / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            env={**inherited, **quiet, **environment},
            cwd=place,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1200):
            assert process.poll() is None, (place / "log.txt").read_text()
            try:
                urllib.request.urlopen(f"{url}{health}", timeout=10).close()
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise AssertionError(f"{name} never answered: {(place / 'log.txt').read_text()}")
        yield url
    finally:
        process.terminate()
        process.wait()


def _bucket_with_keys(endpoint: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Make the bucket and two keys, for a writer and a reader; from then on the server checks keys."""
    iam = _client("iam", endpoint, "setup", "setup")
    keys = []
    for name, statement in (("writer", WRITER), ("reader", READER)):
        iam.create_user(UserName=name)
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=policy)
        made = iam.create_access_key(UserName=name)["AccessKey"]
        keys.append((made["AccessKeyId"], made["SecretAccessKey"]))
    _client("s3", endpoint, "setup", "setup").create_bucket(Bucket=BUCKET)
    headers = {"Content-Type": "text/plain"}
    check = urllib.request.Request(f"{endpoint}/moto-api/reset-auth", b"0", headers, method="POST")
    urllib.request.urlopen(check, timeout=10).close()
    return keys[0], keys[1]


def _client(service: str, endpoint: str, key: str, secret: str) -> Any:
    import boto3

    credentials = {"aws_access_key_id": key, "aws_secret_access_key": secret}
    return boto3.client(service, endpoint_url=endpoint, region_name="us-east-1", **credentials)


def _service_account(url: str) -> tuple[str, str]:
    """Log in as administrator and make an API key; returns the administrator's token, and the key."""
    form = urllib.parse.urlencode({"username": "admin", "password": PASSWORD}).encode()
    login = urllib.request.Request(f"{url}/api/v1/login", form, method="POST")
    with urllib.request.urlopen(login, timeout=30) as answer:
        token = json.load(answer)["access_token"]
    body = {"name": "training", "description": "", "active": True}
    account = _ask(url, "service_accounts", token, body)["id"]
    key = _ask(url, f"service_accounts/{account}/api_keys", token, {"name": "key", "description": ""})
    return token, key["body"]["key"]


def _ask(url: str, path: str, token: str, body: dict[str, Any], method: str = "POST") -> Any:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(
        f"{url}/api/v1/{path}", json.dumps(body).encode(), headers, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{path}: {error.code} {error.read().decode()}") from None
