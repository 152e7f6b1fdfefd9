"""AWS for tests: moto's server on this machine, and what Terraform has applied to it.

Moto keeps what it is told and starts nothing: no container runs, no database answers.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import boto3
import pytest

from deploy.cloud.terraform import Terraform
from millrace.errors import UserError
from tests.bentos.running import free_port

REGION = "eu-central-1"
DIGEST = f"sha256:{'0123456789abcdef' * 4}"
SERVICES = (
    *("acm", "cloudwatch", "ec2", "ecr", "ecs", "elbv2", "iam", "kms"),
    *("lambda", "logs", "rds", "s3", "secretsmanager", "sts"),
)
# Beside `versions.tf`, whose backend and provider it overrides, in the copy alone.
OVERRIDE = """\
terraform {{
  backend "local" {{}}
}}

provider "aws" {{
  region                      = "{region}"
  access_key                  = "test"
  secret_key                  = "test"
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  endpoints {{
{endpoints}
  }}
}}
"""


class Moto:
    """A running server."""

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which boto3 asks it and nobody else."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
        }

    def client(self, service: str) -> Any:
        return boto3.session.Session().client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )


@contextlib.contextmanager
def running_moto() -> Iterator[Moto]:
    """Moto's server on a port of its own, with nothing in it."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen(command, **quiet)
    moto = Moto(f"http://127.0.0.1:{port}")
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urlopen(f"{moto.url}/moto-api/", timeout=5).close()
                break
            except URLError:
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield moto
    finally:
        server.terminate()
        server.wait()


def needs_terraform() -> None:
    """Skip a test where Terraform, or its provider, cannot be had."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            terraform = Terraform(Path(folder))
            terraform.run("modules/network", "init", "-backend=false", "-input=false", "-no-color")
        except UserError as error:
            pytest.skip(f"no Terraform with its provider here: {error}")


def prepared(terraform: Terraform, environment: str, moto: Moto, **others: Any) -> str:
    """The folder of an environment in Terraform's copy, ready for moto and with all its variables."""
    where = f"environments/{environment}"
    endpoints = "\n".join(f'    {service} = "{moto.url}"' for service in SERVICES)
    folder = terraform.root / where
    (folder / "override.tf").write_text(OVERRIDE.format(region=REGION, endpoints=endpoints))
    certificate = moto.client("acm").request_certificate(DomainName="*.staging.example.org")
    (folder / "terraform.tfvars.json").write_text(
        json.dumps(
            {
                "region": REGION,
                "zones": [f"{REGION}a", f"{REGION}b"],
                "bucket": f"millrace-{environment}-artifacts",
                "domain": "staging.example.org",
                "certificate_arn": certificate["CertificateArn"],
                "client_cidrs": ["203.0.113.0/24"],
                "github_repository": "example/millrace",
                "runner_digest": DIGEST,
                "zenml_url": "https://zenml.staging.example.org",
                "services": {"iris": {"memory": 3072}},
                "functions": {"iris": {"digest": DIGEST}},
                **others,
            }
        )
    )
    terraform.run(where, "init", "-input=false", "-no-color")
    return where
