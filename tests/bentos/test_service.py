"""`bentoml serve` as a process of its own."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from bentos.build import BUNDLE, build_bento, store_model
from millrace.bundle import MANIFEST, read_json, verify, write_json
from tests.bentos.running import HOUSE, NAME, PATIENCE, free_port, running, serve


@pytest.fixture(scope="module")
def model(bentoml_home: Path, houses_folder: Path) -> Path:
    """The folder of a stored model that has its Bento."""
    tag = store_model(houses_folder, NAME, verify(houses_folder), "3")
    build_bento(tag)
    return bentoml_home / "models" / tag.replace(":", "/")


@pytest.fixture(scope="module")
def service(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:  # noqa: ARG001
    with (
        running(tmp_path_factory.mktemp("serve")) as service,
        httpx.Client(base_url=service.url, timeout=10) as client,
    ):
        yield client


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


def damage(bundle: Path) -> None:
    (bundle / "model.txt").write_bytes((bundle / "model.txt").read_bytes() + b"\n")


def lose(bundle: Path) -> None:
    (bundle / "intervals.json").unlink()


def outdate(bundle: Path) -> None:
    write_json(bundle / MANIFEST, {**read_json(bundle / MANIFEST), "format": 999, "parts": []})


def test_what_cannot_serve_ends_the_start_with_a_sentence(
    model: Path, bentoml_home: Path, iris_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And with no other line, and no worker that is started again and again."""
    flowers = store_model(iris_folder, "iris", verify(iris_folder), "1")
    cases: list[tuple[Callable[[Path], None] | None, dict[str, str], str]] = [
        (damage, {}, "the file 'model.txt' was changed after training; fetch the bundle again."),
        (lose, {}, "the file 'intervals.json' is missing; fetch the bundle again."),
        (outdate, {}, "another Millrace made it; train the model again, in a new MILLRACE_HOME."),
        (None, {"CHALLENGER": flowers}, f"champion {NAME}:3: no request can go to both."),
    ]
    started = []
    for number, (act, settings, _) in enumerate(cases):
        home = tmp_path / str(number)
        shutil.copytree(bentoml_home, home)
        if act is not None:
            act(home / model.relative_to(bentoml_home) / BUNDLE)
        monkeypatch.setenv("BENTOML_HOME", str(home))
        started.append(serve(free_port(), home, **settings))
    for number, (process, (_, _, sentence)) in enumerate(zip(started, cases, strict=True)):
        assert process.wait(PATIENCE) == 1
        log = (tmp_path / str(number) / "log").read_text().strip()
        print(log)
        assert sentence in log
        assert len(log.splitlines()) == 1
