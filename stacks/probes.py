"""Questions to the parts of a stack: each yields what it found, or raises a FaultError with its remedy.

They ask over plain HTTP and by the clients that the runs use, once, and wait `patience` seconds for an
answer.
"""

import os
import threading
import uuid
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from packaging.version import Version

from stacks.stack_files import ZENML_SECRET, Component, Stack

# To connect; seconds. How long to wait for an answer, who asks says.
CONNECT = 2.0
OPENING = threading.Lock()
# What S3 servers call a key that they do not know or that no longer holds, and a wrong secret.
BAD_KEY = {"InvalidAccessKeyId", "InvalidClientTokenId", "AuthFailure", "InvalidToken"}
BAD_SECRET = {"SignatureDoesNotMatch", "InvalidSignature"}
EXPIRED = {"ExpiredToken", "RequestExpired", "TokenRefreshRequired"}
CLOCK = {"RequestTimeTooSkewed"}


class FaultError(Exception):
    """What is wrong with a part of a stack, and what to do about it."""

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(found)
        self.found = found
        self.remedy = remedy


def zenml(stack: Stack, patience: float) -> Iterator[str]:
    """ZenML's server: it answers, its version fits, the API key is taken."""
    assert stack.server is not None
    url = stack.server.url.rstrip("/")
    named = stack.references("server", "url")
    told = _request("GET", f"{url}/api/v1/info", f"ZenML's server at {url}", named, patience)
    if told.status_code >= 500:
        raise _ailing(f"ZenML's server at {url}", told.status_code)
    ours = version("zenml")
    theirs = _json(told, "version", f"{url} is no ZenML server", f"Correct {named}.")
    if Version(ours).release[:2] != Version(theirs).release[:2]:
        raise FaultError(
            f"the server is ZenML {theirs}, this is {ours}",
            f"Bring both to one version: zenml=={theirs} here, or {ours} there.",
        )
    yield f"ZenML {theirs} at {url}"
    form = {"grant_type": "zenml-api-key", "password": stack.server.api_key}
    answer = _request("POST", f"{url}/api/v1/login", f"ZenML's server at {url}", named, patience, data=form)
    if answer.status_code != 200:
        raise FaultError(
            f"the API key is not taken (HTTP {answer.status_code}): wrong, expired, or deactivated",
            f"Make one with: zenml service-account api-key ACCOUNT create NAME; "
            f"put it into {stack.references('server', 'api_key')}.",
        )
    yield "API key taken"


def mlflow(stack: Stack, tracker: Component, patience: float) -> Iterator[str]:
    """MLflow's server: it answers, takes the credentials, and its version fits."""
    configuration = with_secrets(tracker)
    if "tracking_uri" not in configuration:
        yield "kept in the artifact store"
        return
    url = configuration["tracking_uri"].rstrip("/")
    named = _named(stack, "experiment_tracker", "tracking_uri")
    options: dict[str, Any] = {}
    if "tracking_username" in configuration:
        options["auth"] = (configuration["tracking_username"], configuration["tracking_password"])
        keys = [_named(stack, "experiment_tracker", f"tracking_{key}") for key in ("username", "password")]
    else:
        options["headers"] = {"Authorization": f"Bearer {configuration.get('tracking_token')}"}
        keys = [_named(stack, "experiment_tracker", "tracking_token")]
    server = f"MLflow at {url}"
    answer = _request("GET", f"{url}/version", server, named, patience, **options)
    if answer.status_code in (401, 403):
        raise FaultError(f"{server} does not take the credentials", f"Correct {' and '.join(keys)}.")
    if answer.status_code >= 500:
        raise _ailing(server, answer.status_code)
    if answer.status_code != 200 or not answer.text[:1].isdigit():
        raise FaultError(f"{url} is no MLflow server (HTTP {answer.status_code})", f"Correct {named}.")
    theirs, ours = answer.text.strip(), version("mlflow")
    if not _serves(Version(theirs), Version(ours)):
        raise FaultError(
            f"the server is MLflow {theirs}, this is {ours}",
            f"Bring the server to {ours}; it must be of the same major version and not older.",
        )
    yield f"MLflow {theirs} at {url}"
    asked = f"{url}/api/2.0/mlflow/experiments/search"
    answer = _request("POST", asked, server, named, patience, json={"max_results": 1}, **options)
    if answer.status_code in (401, 403):
        raise FaultError(f"{server} does not take the credentials", f"Correct {' and '.join(keys)}.")
    if answer.status_code != 200:
        raise _ailing(server, answer.status_code)
    yield "credentials taken"


def _ailing(server: str, status: int) -> FaultError:
    return FaultError(f"{server} answers HTTP {status}", "See the server's log: is its database up?")


def s3(stack: Stack, store: Component, patience: float) -> Iterator[str]:
    """The bucket: it is there, the keys are taken, an object can be written (and is deleted again)."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        EndpointConnectionError,
        NoCredentialsError,
    )

    configuration = with_secrets(store)
    bucket, _, prefix = configuration["path"].removeprefix("s3://").partition("/")
    options = dict(configuration.get("client_kwargs") or {})
    where = options.get("endpoint_url") or "AWS"
    keys = " and ".join(_named(stack, "artifact_store", key) for key in ("key", "secret"))
    config = Config(connect_timeout=CONNECT, read_timeout=patience, retries={"total_max_attempts": 1})
    key = "/".join(part for part in (prefix.strip("/"), f"millrace-check-{uuid.uuid4().hex}") if part)
    writing = False
    try:
        client = boto3.client(
            "s3",
            aws_access_key_id=configuration.get("key"),
            aws_secret_access_key=configuration.get("secret"),
            aws_session_token=configuration.get("token"),
            config=config,
            **options,
        )
        client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        yield f"bucket {bucket} at {where}, keys taken"
        writing = True
        client.put_object(Bucket=bucket, Key=key, Body=b"")
        client.delete_object(Bucket=bucket, Key=key)
    except NoCredentialsError:
        raise FaultError("no keys for S3", f"Set {keys}.") from None
    except ClientError as error:
        code = error.response["Error"].get("Code", "")
        raise _s3_fault(code, bucket, where, keys, writing) from None
    except EndpointConnectionError:
        raise FaultError(
            f"S3 at {where} does not answer: nobody listens there",
            f"Start it, or correct {_endpoint(stack)}.",
        ) from None
    except (BotoCoreError, ValueError) as error:
        raise FaultError(
            f"{where} does not answer as S3: {_line(error)}",
            f"Start the server, or correct {_endpoint(stack)}.",
        ) from None
    yield "writable"


def folder(stack: Stack, store: Component, _: float) -> Iterator[str]:
    """A local artifact store: its folder can be made and written to."""
    path = Path(store.configuration["path"]).absolute()
    place = path
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise FaultError(
            f"{place} cannot be written to", f"Correct {_named(stack, 'artifact_store', 'path')}."
        )
    yield f"{path} is writable"


def kubernetes(stack: Stack, orchestrator: Component, patience: float) -> Iterator[str]:
    """The cluster: its context is known here, and it answers."""
    from kubernetes import client, config
    from urllib3.exceptions import HTTPError

    context = orchestrator.configuration.get("kubernetes_context")
    named = _named(stack, "orchestrator", "kubernetes_context")
    try:
        # The client itself looks at the variable when it is imported.
        api = config.new_client_from_config(os.environ.get("KUBECONFIG"), context)
    except config.ConfigException as error:
        raise FaultError(
            f"no context '{context}' for kubectl: {_line(error)}",
            f"Correct {named}; kubectl config get-contexts lists them.",
        ) from None
    try:
        # Asked once: the client would try three times more.
        api.rest_client.pool_manager.connection_pool_kw["retries"] = False
        told = client.VersionApi(api).get_code(_request_timeout=(CONNECT, patience))
    except (client.ApiException, HTTPError) as error:
        raise FaultError(
            f"the cluster of '{context}' does not answer: {_line(error)}", f"Correct {named}."
        ) from None
    yield f"Kubernetes {told.git_version}, context {context}"


def registry(stack: Stack, component: Component, patience: float) -> Iterator[str]:
    """The container registry: it speaks the registry's protocol; whether it takes images, a push shows."""
    host = component.configuration["uri"].partition("/")[0]
    scheme = "http" if host.partition(":")[0] in ("localhost", "127.0.0.1") else "https"
    named = _named(stack, "container_registry", "uri")
    answer = _request("GET", f"{scheme}://{host}/v2/", f"the registry at {host}", named, patience)
    if answer.status_code not in (200, 401, 403):
        raise FaultError(f"{host} is no container registry (HTTP {answer.status_code})", f"Correct {named}.")
    yield f"registry at {host}"


def docker(_: Stack, __: Component, patience: float) -> Iterator[str]:
    """Docker, which builds the images."""
    from docker import from_env
    from docker.errors import DockerException

    try:
        told = from_env(timeout=int(patience)).version()
    except DockerException as error:
        raise FaultError(
            f"Docker does not answer: {_line(error)}", "Start Docker, or set DOCKER_HOST."
        ) from None
    yield f"Docker {told['Version']}"


def with_secrets(component: Component) -> dict[str, Any]:
    """A component's configuration with the values of ZenML's secrets that it refers to."""
    configuration = dict(component.configuration)
    for key, value in configuration.items():
        match = ZENML_SECRET.fullmatch(value) if isinstance(value, str) else None
        if match:
            configuration[key] = _zenml_secret(match[1], match[2])
    return configuration


def _zenml_secret(name: str, key: str) -> str:
    """The value of a ZenML secret's key, from the store of the stack that is being checked.

    Raises:
        FaultError: the store cannot be asked, or has no such secret.
    """
    remedy = f"Make it with: zenml secret create {name} --{key}=..."
    try:
        with OPENING:
            from zenml.client import Client

            values = Client().get_secret_by_name_and_private_status(name).secret_values
        return values[key]
    except KeyError:
        raise FaultError(f"ZenML has no secret '{name}' with a key '{key}'", remedy) from None
    # Whatever keeps the store from answering: the server's own lines say what it is.
    except Exception as error:
        raise FaultError(
            f"the secret '{name}' cannot be read: {_line(error)}", "Mend the server first."
        ) from None


def _s3_fault(code: str, bucket: str, where: str, keys: str, writing: bool) -> FaultError:
    if code == "NoSuchBucket":
        return FaultError(f"{where} has no bucket '{bucket}'", f"Make it: aws s3 mb s3://{bucket}")
    if code in BAD_SECRET:
        return FaultError(f"{where}: the secret does not belong to the key ({code})", f"Correct {keys}.")
    if code in BAD_KEY:
        return FaultError(f"{where} does not know the key ({code})", f"Correct {keys}.")
    if code in EXPIRED:
        return FaultError(f"{where}: the key has expired ({code})", f"Get new ones for {keys}.")
    if code in CLOCK:
        return FaultError(f"{where}: the clocks differ too much ({code})", "Set this machine's clock.")
    if code == "AccessDenied":
        what = "written to" if writing else "listed"
        return FaultError(
            f"bucket '{bucket}' cannot be {what} with this key ({code})",
            "Give the key the rights s3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject.",
        )
    return FaultError(f"{where} refuses bucket '{bucket}': {code}", "See the server's log.")


def _serves(server: Version, client: Version) -> bool:
    """Whether an MLflow server serves a client: a newer client asks for what an older server lacks."""
    return server.major == client.major and server.minor >= client.minor


def _request(method: str, url: str, what: str, named: str, patience: float, **options: Any) -> Any:
    """An HTTP answer of whatever status, or a FaultError if there is none."""
    import requests

    try:
        return requests.request(method, url, timeout=(CONNECT, patience), allow_redirects=False, **options)
    except requests.Timeout:
        raise FaultError(f"{what} is too slow to answer", "See whether it is overloaded.") from None
    except requests.RequestException as error:
        reason = "nobody listens there" if isinstance(error, requests.ConnectionError) else _line(error)
        raise FaultError(f"{what} does not answer: {reason}", f"Start it, or correct {named}.") from None


def _json(answer: Any, key: str, found: str, remedy: str) -> str:
    try:
        return str(answer.json()[key])
    except (ValueError, KeyError, TypeError):
        raise FaultError(f"{found} (HTTP {answer.status_code})", remedy) from None


def _named(stack: Stack, kind: str, key: str) -> str:
    """How the file writes a component's value, or which key of it is meant."""
    try:
        return stack.references("components", kind, "configuration", key)
    except KeyError:
        return f"{kind}.{key}"


def _endpoint(stack: Stack) -> str:
    try:
        return stack.references(
            "components", "artifact_store", "configuration", "client_kwargs", "endpoint_url"
        )
    except KeyError:
        return "artifact_store.client_kwargs.endpoint_url"


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
