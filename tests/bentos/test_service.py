"""`bentoml serve` as a process of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bentos.build import BUNDLE, build_bento, store_model
from millrace.bundle import verify

NAME = "served_houses"
HOUSE = {"area (m2)": 80, "rooms": 3, "district": "north", "new": False}
PATIENCE = 60
"""Seconds that a start may take."""


@pytest.fixture(scope="module")
def model(bentoml_home: Path, houses_folder: Path) -> Path:
    """The folder of a stored model that has its Bento."""
    tag = store_model(houses_folder, NAME, verify(houses_folder), "3")
    build_bento(tag)
    return bentoml_home / "models" / tag.replace(":", "/")


def serve(port: int, folder: Path, **variables: str) -> "subprocess.Popen[str]":
    """Start the newest Bento; `folder` is where it runs and where its log goes."""
    command = [sys.executable, "-m", "bentoml", "serve", f"{NAME}:latest"]
    with (folder / "log").open("w") as log:
        return subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env={**os.environ, **variables},
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def service(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:  # noqa: ARG001
    folder = tmp_path_factory.mktemp("serve")
    port = free_port()
    process = serve(port, folder)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            wait_until_ready(client, process, folder / "log")
            yield client
    finally:
        process.terminate()
        process.wait(PATIENCE)


def wait_until_ready(client: httpx.Client, process: "subprocess.Popen[Any]", log: Path) -> None:
    """Wait for a service that has been started."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail(f"The service did not become ready:\n{log.read_text()}")


def test_it_predicts(service: httpx.Client) -> None:
    answer = service.post("/v1/predict", json={"rows": [HOUSE]}).json()
    assert answer["predictions"][0]["prediction"] > 0
    assert (answer["model"]["name"], answer["model"]["version"]) == (NAME, "3")


def test_it_describes_its_model(service: httpx.Client, houses_folder: Path) -> None:
    assert service.get("/v1/model").json()["digest"] == verify(houses_folder)


def test_it_shows_its_card(service: httpx.Client) -> None:
    assert "The card of served_houses, card.html" in service.get("/v1/card").text
    text = service.get("/v1/card", headers={"Accept": "text/markdown"})
    assert text.headers["Content-Type"].startswith("text/markdown")


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_it_answers_for_its_health(service: httpx.Client, path: str) -> None:
    assert service.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/nothing", "/docs.json", "/v1/predict/more"])
def test_an_unknown_path_is_a_problem(service: httpx.Client, path: str) -> None:
    response = service.get(path)
    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/problem+json"


def test_a_broken_contract_is_a_problem(service: httpx.Client) -> None:
    response = service.post("/v1/predict", json={"rows": [{**HOUSE, "rooms": "3"}]})
    assert response.status_code == 422
    assert response.json()["errors"] == [{"row": 0, "field": "rooms", "rule": "type", "value": "3"}]


def test_a_body_over_the_limit_is_a_problem(service: httpx.Client) -> None:
    headers = {"Content-Type": "application/json"}
    assert service.post("/v1/predict", content=b" " * 40_000_000, headers=headers).status_code == 413


def test_a_damaged_bundle_ends_the_service_with_a_sentence(model: Path, tmp_path: Path) -> None:
    file = model / BUNDLE / "model.txt"
    whole = file.read_bytes()
    file.write_bytes(whole + b"\n")
    try:
        process = serve(free_port(), tmp_path)
        assert process.wait(PATIENCE) == 1
    finally:
        file.write_bytes(whole)
    log = (tmp_path / "log").read_text().strip()
    assert log.endswith("the file 'model.txt' was changed after training; fetch the bundle again.")
    assert len(log.splitlines()) == 1
