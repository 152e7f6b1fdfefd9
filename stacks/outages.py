"""A server that was lost during a run: which one it was, told from the error that its client raised."""

import re
import traceback
from collections.abc import Iterator
from urllib.parse import urlsplit

from millrace.errors import UserError
from stacks.stack_files import Stack

# How clients write from where they got no answer: as a URL, or as urllib3's pool of connections.
PLACES = (re.compile(r"https?://([^/\s'\"]+)"), re.compile(r"host='([^']+)', port=(\d+)"))


def as_outage(error: BaseException, stack: Stack) -> UserError | None:
    """What to tell the user if a server of the stack gave no answer, or one of 500 and above; else None."""
    servers = _servers(stack)
    for cause in _chain(error):
        server = _lost(cause, servers)
        if server:
            return UserError(
                f"{server} at {servers[server]} did not answer, or failed, during the run. What was "
                f"finished is kept: once `run.py --stack {stack.name} --check` finds it well, the same "
                "command goes on from there."
            )
    return None


def _servers(stack: Stack) -> dict[str, str]:
    """The URLs of the stack's servers."""
    store, tracker = (
        stack.components[kind].configuration for kind in ("artifact_store", "experiment_tracker")
    )
    urls = {
        "ZenML's server": stack.server.url if stack.server else "",
        "S3": store.get("client_kwargs", {}).get("endpoint_url", ""),
        "MLflow": tracker.get("tracking_uri", ""),
    }
    return {name: url for name, url in urls.items() if url.startswith("http")}


def _lost(cause: BaseException, servers: dict[str, str]) -> str | None:
    """The server that an error says did not answer, or answered that it could not."""
    from botocore.exceptions import BotoCoreError, ClientError
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    if isinstance(cause, ClientError):
        status = cause.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return "S3" if status >= 500 and "S3" in servers else None
    if isinstance(cause, RuntimeError) and _raised_in(cause) == "zenml.zen_stores.rest_zen_store":
        # What ZenML's client makes of an answer of 500: its server has lost its database.
        return "ZenML's server"
    if not isinstance(cause, RequestException | BotoCoreError | MlflowException):
        return None
    answer = getattr(cause, "response", None)
    if answer is not None and answer.status_code < 500:
        return None
    text = f"{cause} {getattr(getattr(cause, 'request', None), 'url', '')}"
    places = {":".join(found.groups()) for place in PLACES for found in place.finditer(text)}
    return next((name for name, url in servers.items() if urlsplit(url).netloc in places), None)


def _raised_in(error: BaseException) -> str:
    """The module that raised an error."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals["__name__"]) if frames else ""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it was raised from or during."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
