"""The served OpenAPI document, and a service that keeps to it whatever it is sent."""

from contextlib import suppress
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from millrace.bundle import Bundle
from tests.bentos.serving import Client, application
from tests.bentos.test_service import model, service  # noqa: F401

PATHS = (
    *("/v1/predict", "/v1/explain", "/v1/feedback", "/v1/model", "/v1/schema", "/v1/form", "/v1/card"),
    *("/openapi.json", "/metrics", "/livez", "/readyz"),
)


@pytest.fixture(scope="module")
def served(service: httpx.Client) -> Any:  # noqa: F811
    """The document of a running service, its model with a column of every type."""
    return schemathesis.openapi.from_url(f"{service.base_url}/openapi.json")


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("path", PATHS)
def test_every_answer_is_one_that_the_document_tells_of(path: str, mode: GenerationMode, served: Any) -> None:
    """With all of schemathesis' checks: of what keeps to the contract, and of what breaks it."""
    for method in served[path]:

        @given(case=served[path][method].as_strategy(generation_mode=mode))
        @settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        def ask(case: Any) -> None:
            # What makes a table is not for JSON Schema to say: any bytes would pass for one.
            assume(mode is GenerationMode.NEGATIVE or case.media_type in (None, "application/json"))
            case.call_and_validate()

        # Of a path without parameters there is nothing to break.
        with suppress(Unsatisfiable):
            ask()


def test_examples_of_the_document_are_answered(houses_bundle: Bundle) -> None:
    client = Client(application(houses_bundle))
    document = client.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    example = document["paths"]["/v1/predict"]["post"]["requestBody"]["content"]["application/json"][
        "example"
    ]
    assert client.post("/v1/predict", json=example).status_code == 200
    for row in document["components"]["schemas"]["Row"]["examples"]:
        assert client.post("/v1/predict", json={"rows": [row]}).status_code == 200


def test_the_example_of_feedback_is_kept(service: httpx.Client) -> None:  # noqa: F811
    document = service.get("/openapi.json").json()
    example = document["paths"]["/v1/feedback"]["post"]["requestBody"]["content"]["application/json"][
        "example"
    ]
    assert service.post("/v1/feedback", json=example).status_code == 202
