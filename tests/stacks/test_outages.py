"""Errors as clients really raise them, and the server that each is said to be about."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
import requests
from botocore.config import Config
from mlflow.tracking import MlflowClient

from stacks.outages import as_outage
from stacks.stack_files import Stack, load_stack_file
from tests.conftest import ROOT

NAMES = ("S3_BUCKET", "S3_KEY", "S3_SECRET", "MLFLOW_USER", "MLFLOW_PASSWORD", "ZENML_API_KEY")


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """The staging stack with servers on three ports where nobody listens."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    for name in NAMES:
        monkeypatch.setenv(f"MILLRACE_STAGING_{name}", "any")
    sockets = [socket.socket() for _ in range(3)]
    for name, bound in zip(("S3_ENDPOINT", "MLFLOW_URL", "ZENML_URL"), sockets, strict=True):
        bound.bind(("127.0.0.1", 0))
        monkeypatch.setenv(f"MILLRACE_STAGING_{name}", f"http://127.0.0.1:{bound.getsockname()[1]}")
    yield load_stack_file("staging", ROOT / "configs" / "stacks")
    for bound in sockets:
        bound.close()


def s3(stack: Stack) -> None:
    url = stack.components["artifact_store"].configuration["client_kwargs"]["endpoint_url"]
    keys = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "region_name": "us-east-1"}
    once = Config(retries={"total_max_attempts": 1})
    boto3.client("s3", endpoint_url=url, config=once, **keys).list_buckets()


def mlflow(stack: Stack) -> None:
    MlflowClient(stack.components["experiment_tracker"].configuration["tracking_uri"]).search_experiments()


def zenml(stack: Stack) -> None:
    assert stack.server is not None
    requests.get(f"{stack.server.url}/api/v1/info", timeout=5)


def raised(ask: Callable[[Stack], None], stack: Stack) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        ask(stack)
    return caught.value


@pytest.mark.parametrize(("ask", "named"), [(s3, "S3"), (mlflow, "MLflow"), (zenml, "ZenML's server")])
def test_the_server_that_gave_no_answer_is_named(
    stack: Stack, ask: Callable[[Stack], None], named: str
) -> None:
    cause = raised(ask, stack)
    other = ValueError("of a step")
    other.__cause__ = cause
    for error in (cause, other):
        outage = as_outage(error, stack)
        assert outage is not None
        assert str(outage).startswith(f"{named} at http://127.0.0.1:")
        assert "`run.py --stack staging --check`" in str(outage)


def test_other_errors_are_no_outage(stack: Stack, tmp_path: Path) -> None:
    assert stack.server is not None
    answer = requests.Response()
    answer.status_code, answer.url = 404, f"{stack.server.url}/api/v1/nothing"
    elsewhere = raised(lambda _: requests.get("http://127.0.0.1:1/", timeout=5) and None, stack)
    own = raised(lambda _: (tmp_path / "absent").read_text() and None, stack)
    for error in (requests.HTTPError("404 for url: " + answer.url, response=answer), elsewhere, own):
        assert as_outage(error, stack) is None
    answer.status_code = 503
    assert as_outage(requests.HTTPError(f"503 for url: {answer.url}", response=answer), stack) is not None
