"""Champion, challenger, and a change of champion, in this process."""

import asyncio
import dataclasses
import json
import logging
from pathlib import Path

import pytest

from bentos.app import Application
from bentos.build import build_bento, store_model
from bentos.watch import Watcher
from millrace.bundle import METRICS, Bundle, copy_bundle, load_bundle, read_json, seal, verify, write_json
from millrace.errors import UserError
from millrace.lineup import Lineup
from tests.bentos.serving import Client, Stub, connect, variant, with_model

HOUSE = {"area (m2)": 80, "rooms": 3, "district": "north", "new": False}
BODY = {"rows": [HOUSE]}


def split(bundle: Bundle, share: float, other: float | Exception = 7.0) -> Application:
    """The bundle as the champion, and a challenger that always answers the same."""
    challenger = variant("challenger", with_model(bundle, Stub(other)), "new")
    return Application(Lineup(variant("champion", bundle, "old"), challenger=challenger, share=share))


def versions(app: Application, requests: int, **headers: str) -> list[str]:
    async def ask() -> list[str]:
        async with connect(app) as client:
            answers = [
                await client.post("/v1/predict", json=BODY, headers={**headers, "X-Request-ID": f"r{number}"})
                for number in range(requests)
            ]
        assert {answer.status_code for answer in answers} == {200}
        return [answer.json()["model"]["version"] for answer in answers]

    return asyncio.run(ask())


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_of_the_keys_is_the_challengers(share: float, houses_bundle: Bundle) -> None:
    app = split(houses_bundle, share)
    answered = versions(app, 600)
    # Within four standard deviations of a fair draw.
    assert abs(answered.count("new") / 600 - share) <= 4 * (share * (1 - share) / 600) ** 0.5
    assert versions(app, 600) == answered


def test_a_key_has_its_variant_whatever_the_request(houses_bundle: Bundle) -> None:
    app = split(houses_bundle, 0.5)
    for key in ("anna", "bert", "carl", "dora"):
        assert len(set(versions(app, 20, **{"X-Millrace-Key": key}))) == 1
    assert len({tuple(versions(app, 1, **{"X-Millrace-Key": str(key)})) for key in range(40)}) == 2


def test_a_tester_names_the_variant(houses_bundle: Bundle) -> None:
    app = split(houses_bundle, 0.0)
    assert versions(app, 1, **{"X-Millrace-Variant": "challenger"}) == ["new"]
    assert versions(split(houses_bundle, 1.0), 1, **{"X-Millrace-Variant": "champion"}) == ["old"]
    refused = Client(app).post("/v1/predict", json=BODY, headers={"X-Millrace-Variant": "shadow"})
    assert (refused.status_code, refused.json()["status"]) == (422, 422)


@pytest.mark.parametrize("answer", [ValueError("broken"), float("nan")])
def test_a_challenger_that_fails_is_switched_off_and_the_champion_answers(
    answer: float | Exception, houses_bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    app = split(houses_bundle, 1.0, answer)
    with caplog.at_level(logging.ERROR):
        assert versions(app, 5) == ["old"] * 5
    assert [record.getMessage()[:14] for record in caplog.records] == ["The challenger"]
    told = Client(app).get("/v1/model").json()["variants"]
    assert [(one["variant"], one["share"]) for one in told] == [("champion", 1.0)]


def test_variants_are_told_with_their_shares(houses_bundle: Bundle) -> None:
    told = Client(split(houses_bundle, 0.25)).get("/v1/model").json()
    assert told["version"] == "old"
    assert [(one["variant"], one["version"], one["share"]) for one in told["variants"]] == [
        ("champion", "old", 0.75),
        ("challenger", "new", 0.25),
    ]


def test_another_contract_cannot_serve_beside(houses_bundle: Bundle, iris_bundle: Bundle) -> None:
    with pytest.raises(UserError, match="The challenger served_houses:abc has another contract"):
        Application(Lineup(variant("champion", houses_bundle), challenger=variant("challenger", iris_bundle)))


@pytest.fixture
def stored(bentoml_home: Path, houses_folder: Path) -> Path:  # noqa: ARG001
    """The houses' bundle as the latest Bento."""
    build_bento(store_model(houses_folder, "served_houses", verify(houses_folder), "1"))
    return houses_folder


def changed(folder: Path, to: Path) -> Path:
    """A bundle that is as good and has another digest."""
    copy_bundle(folder, to)
    (to / METRICS).chmod(0o644)
    metrics = read_json(to / METRICS)
    metrics["evaluation"]["rows"] += 1
    write_json(to / METRICS, metrics)
    seal(to)
    return to


def publish(folder: Path, version: str) -> str:
    tag = store_model(folder, "served_houses", verify(folder), version)
    build_bento(tag)
    return tag


def test_the_latest_bentos_model_takes_over(stored: Path, tmp_path: Path) -> None:
    app = Application(Lineup(variant("champion", load_bundle(stored), "1")))
    watcher = Watcher(app, "served_houses", 60)
    watcher.look()
    assert app.live.lineup.champion.version == "1"
    new = changed(stored, tmp_path / "new")
    publish(new, "2")
    watcher.look()
    told = Client(app).get("/v1/model").json()
    assert (told["version"], told["digest"]) == ("2", verify(new))
    publish(stored, "1")
    watcher.look()
    assert app.live.lineup.champion.version == "1"


def test_what_answers_otherwise_than_recorded_does_not_take_over(
    stored: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = Application(Lineup(variant("champion", load_bundle(stored), "1")))
    watcher = Watcher(app, "served_houses", 60)
    wrong = changed(stored, tmp_path / "wrong")
    recorded = json.loads((wrong / "selftest.json").read_text())
    recorded["predictions"][1] += 1
    write_json(wrong / "selftest.json", recorded)
    seal(wrong)
    publish(wrong, "2")
    with caplog.at_level(logging.ERROR):
        watcher.look()
        watcher.look()
    assert app.live.lineup.champion.version == "1"
    assert len(caplog.records) == 1
    assert "self-test row 1" in caplog.text


def test_another_contract_does_not_take_over(
    stored: Path, iris_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = Application(Lineup(variant("champion", load_bundle(stored), "1")))
    watcher = Watcher(app, "served_houses", 60)
    publish(iris_folder, "2")
    with caplog.at_level(logging.ERROR):
        watcher.look()
    assert app.live.lineup.champion.version == "1"
    assert "has another contract" in caplog.text


def test_a_damaged_model_does_not_take_over(
    stored: Path, tmp_path: Path, bentoml_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = Application(Lineup(variant("champion", load_bundle(stored), "1")))
    watcher = Watcher(app, "served_houses", 60)
    tag = publish(changed(stored, tmp_path / "new"), "2")
    damaged = bentoml_home / "models" / tag.replace(":", "/") / "bundle" / "model.txt"
    damaged.write_bytes(damaged.read_bytes() + b"\n")
    with caplog.at_level(logging.ERROR):
        watcher.look()
    assert app.live.lineup.champion.version == "1"
    assert "was changed after training" in caplog.text


def test_predictions_while_the_champion_changes(houses_bundle: Bundle) -> None:
    """Each answer is of one model, whole: the prediction and the name beside it belong together."""
    one, two = (with_model(houses_bundle, Stub(value)) for value in (1.0, 2.0))
    lineups = [Lineup(variant("champion", one, "1.0")), Lineup(variant("champion", two, "2.0"))]
    app = Application(lineups[0])

    async def ask() -> None:
        async with connect(app) as client:
            for number in range(60):
                app.live = dataclasses.replace(Application(lineups[number % 2]).live)
                answer = (await client.post("/v1/predict", json=BODY)).json()
                assert answer["predictions"] == [{"prediction": float(answer["model"]["version"])}]

    asyncio.run(ask())
