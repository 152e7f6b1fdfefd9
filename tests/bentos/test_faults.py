"""A service under load, with two workers: another model, a dead worker, an end."""

import asyncio
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bentos.build import build_bento, store_model
from millrace.bundle import verify
from tests.bentos.load import Load
from tests.bentos.running import HOUSE, NAME, PATIENCE, Service, running, wait_for
from tests.bentos.test_variants import changed

BODY = {"rows": [HOUSE]}
# Seconds.
WITHIN = 10.0


@pytest.fixture
def service(bentoml_home: Path, houses_folder: Path, tmp_path: Path) -> Iterator[Service]:  # noqa: ARG001
    """Two workers that look for another model five times a second."""
    build_bento(store_model(houses_folder, NAME, verify(houses_folder), "1"))
    with running(tmp_path, WATCH_SECONDS="0.2") as service:
        yield service


def under(load: Load, act: Callable[[], None]) -> None:
    """Do something while the load runs, a moment after its start; the load ends when it is done."""

    async def run() -> None:
        asking = asyncio.create_task(load.run())
        await asyncio.sleep(1)
        try:
            await asyncio.to_thread(act)
        finally:
            load.stopped = True
        await asking

    asyncio.run(run())


def test_another_model_takes_over_without_a_failed_request(
    service: Service, houses_folder: Path, tmp_path: Path
) -> None:
    new = changed(houses_folder, tmp_path / "new")
    load = Load(service.port, BODY)

    def publish() -> None:
        build_bento(store_model(new, NAME, verify(new), "2"))
        # Both workers look for themselves: the last hundred answers are all of the new model.
        wait_for(lambda: {model["version"] for model in load.answers[-100:]} == {"2"})

    under(load, publish)
    assert set(load.outcomes) == {"200"}
    digests = {"1": verify(houses_folder), "2": verify(new)}
    assert {model["version"] for model in load.answers} == {"1", "2"}
    assert all(model["digest"] == digests[model["version"]] for model in load.answers)


def test_a_killed_worker_costs_ten_requests_at_most_and_is_replaced(service: Service) -> None:
    victim = service.workers[0]
    before = {worker.pid for worker in service.workers}
    load = Load(service.port, BODY)

    def kill() -> None:
        victim.send_signal(signal.SIGKILL)
        wait_for(lambda: len({worker.pid for worker in service.workers} - before) == 1, WITHIN)
        count = len(load.answers)
        wait_for(lambda: len(load.answers) > count + 500, WITHIN)

    under(load, kill)
    failed = load.outcomes.total() - load.outcomes["200"]
    print(f"{failed} of {load.outcomes.total()} requests failed: {dict(load.outcomes)}")
    assert failed <= 10


def test_an_ended_service_answers_what_it_has_begun(service: Service) -> None:
    body = json.dumps({"rows": [HOUSE] * 100}).encode()
    about = f"Content-Type: application/json\r\nContent-Length: {len(body)}"
    head = f"POST /v1/predict HTTP/1.1\r\nHost: x\r\n{about}"

    async def ask(ended: asyncio.Event) -> bytes:
        """Half of a request before the end, and the rest after."""
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(f"{head}\r\n\r\n".encode() + body[: len(body) // 2])
        await writer.drain()
        await ended.wait()
        writer.write(body[len(body) // 2 :])
        answer = await reader.read()
        writer.close()
        return answer

    async def run() -> list[bytes]:
        ended = asyncio.Event()
        asking = [asyncio.create_task(ask(ended)) for _ in range(12)]
        # Until the workers have read what there is of them.
        await asyncio.sleep(1)
        service.process.terminate()
        await asyncio.sleep(1)
        ended.set()
        return await asyncio.gather(*asking)

    answers = asyncio.run(run())
    assert [answer.partition(b"\r\n")[0] for answer in answers] == [b"HTTP/1.1 200 OK"] * 12
    assert service.process.wait(PATIENCE) == 0
