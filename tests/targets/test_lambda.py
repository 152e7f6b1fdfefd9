"""Deployment to Lambda, on what Terraform has made of moto.

Moto runs no function from an image, and knows one URL of a function, not one of each alias: `candidate` is
led to a server of this process that says what it is told to.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from millrace.errors import UserError
from targets.aws_lambda import Function
from targets.target import Traffic
from tests.targets.staging_cloud import Cloud, load, release

NAME = "millrace-staging-iris"


class _Service(BaseHTTPRequestHandler):
    """Says that it is not ready, and the next time that it is."""

    answers: tuple[int, ...] = (503, 200)
    asked = 0

    def do_GET(self) -> None:
        status = self.answers[min(type(self).asked, len(self.answers) - 1)]
        type(self).asked += 1
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"not yet" if status != 200 else b"")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[tuple[str, type[_Service]]]:
    class Service(_Service):
        pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", Service
    server.shutdown()
    server.server_close()


@pytest.fixture
def function(cloud: Cloud, service: tuple[str, type[_Service]], monkeypatch: pytest.MonkeyPatch) -> Function:
    assert cloud
    target = load("lambda")
    assert isinstance(target, Function)
    url = target._url
    monkeypatch.setattr(target, "_url", lambda alias: service[0] if alias == "candidate" else url(alias))
    return target


def _aliases(cloud: Cloud) -> dict[str, str]:
    found = cloud.client("lambda").list_aliases(FunctionName=NAME)["Aliases"]
    return {each["Name"]: each["FunctionVersion"] for each in found}


def test_a_version_takes_over_and_goes_again(
    cloud: Cloud, function: Function, service: tuple[str, type[_Service]]
) -> None:
    assert function.serving() is None
    first = _aliases(cloud)
    assert first["live"] == first["candidate"]
    assert function.url.startswith("https://")

    assert function.start(release("1")) == service[0]
    assert service[1].asked == 2
    assert _aliases(cloud)["live"] == first["live"]
    assert _aliases(cloud)["candidate"] != first["live"]
    assert function.serving() is None
    function.switch()
    function.retire()
    assert function.serving() == release("1")
    assert len(set(_aliases(cloud).values())) == 1

    function.start(release("2"))
    function.switch()
    assert load("lambda").serving() == release("2")
    function.switch_back()
    function.discard()
    found = load("lambda").serving()
    assert found is not None
    # Moto keeps one image of a function, not one of each version.
    assert found.model_copy(update={"image": release("1").image}) == release("1")
    assert len(set(_aliases(cloud).values())) == 1


def test_a_switch_that_was_not_made_is_not_taken_back_too_far(cloud: Cloud, function: Function) -> None:
    """Where the switch itself fails, `live` stays: not at the version before it."""
    for version in ("7", "8"):
        function.start(release(version))
        function.switch()
        function.retire()
    before = _aliases(cloud)
    again = load("lambda")
    assert isinstance(again, Function)
    again._url = function._url  # type: ignore[method-assign]
    again.start(release("9"))
    again.switch_back()
    again.discard()
    assert _aliases(cloud) == before


def test_requests_are_counted_from_the_minute_after_the_switch(cloud: Cloud, function: Function) -> None:
    function.start(release("3"))
    function.switch()
    now = function._since
    assert now is not None

    def told(metric: str, value: float, alias: str, when: datetime) -> dict[str, Any]:
        names = {"FunctionName": NAME, "Resource": f"{NAME}:{alias}"}
        dimensions = [{"Name": name, "Value": each} for name, each in names.items()]
        return {"MetricName": metric, "Value": value, "Dimensions": dimensions, "Timestamp": when}

    later = (now + timedelta(minutes=1)).replace(second=0, microsecond=0)
    cloud.client("cloudwatch").put_metric_data(
        Namespace="AWS/Lambda",
        MetricData=[
            # Of the version before, as far as anybody can tell.
            told("UrlRequestCount", 300, "live", now),
            told("Url5xxCount", 300, "live", now),
            told("UrlRequestCount", 30, "live", later),
            told("UrlRequestCount", 77, "candidate", later),
            told("Url5xxCount", 2, "live", later),
        ],
    )
    assert function.traffic() == Traffic(30, 2)
    function.retire()


def test_a_release_is_told_in_256_characters() -> None:
    longest = release("1000", "a" * 31).model_copy(update={"bento": f"{'a' * 31}:{'b' * 40}"})
    assert len(longest.model_dump_json(exclude={"image"})) <= 256


def test_what_cannot_be_done_is_said(
    cloud: Cloud, function: Function, service: tuple[str, type[_Service]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _aliases(cloud)
    with pytest.raises(UserError, match=r"AWS, lambda get_function: .*millrace-staging-wine"):
        load("lambda", "wine").serving()
    with pytest.raises(UserError, match="runs images, and this release has none"):
        function.start(release("4").model_copy(update={"image": None}))
    service[1].answers = (503,)
    monkeypatch.setattr(function, "_settings", function._settings.model_copy(update={"ready_seconds": 2}))
    with pytest.raises(UserError, match=r"does not become ready; at last http.*/readyz said: 503 not yet"):
        function.start(release("5"))
    function.discard()
    assert _aliases(cloud)["live"] == before["live"] == _aliases(cloud)["candidate"]


def test_terraform_leaves_alone_what_deployment_has_switched(cloud: Cloud, function: Function) -> None:
    function.start(release("6"))
    function.switch()
    # As Terraform has made it, blue has the production listener.
    ecs = load("ecs")
    for version in ("20", "21"):
        ecs.start(release(version))
        ecs.switch()
        if cloud.leads()[443] == "green":
            break
    assert cloud.leads() == {443: "green", 8443: "blue"}
    changes = cloud.planned_changes()
    assert not [address for address in changes if "aws_lb_listener" in address]
    switched = {name for address, names in changes.items() if "lambda" in address for name in names}
    assert not {"image_uri", "function_version", "description"} & switched
    services = [names for address, names in changes.items() if "aws_ecs_service" in address]
    # Moto forgets some of a service's settings; those that are switched are not among what is to be changed.
    assert services
    assert not {"desired_count", "task_definition"} & set().union(*services)
    function.retire()
    ecs.retire()
