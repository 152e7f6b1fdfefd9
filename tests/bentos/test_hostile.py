"""A service among clients that mean it ill: they are slow, silent, endless, or ask for what there is not."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from bentos.bodies import BODY_LIMIT
from bentos.build import build_bento, store_model
from millrace.bundle import verify
from tests.bentos.bodies import corpus, sound
from tests.bentos.load import Load
from tests.bentos.running import HOUSE, NAME, Service, running, weighed

MB = 2**20
HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BODY = json.dumps({"rows": [HOUSE]}).encode()
# Seconds that a body may take here.
BODY_SECONDS = 3.0
CLIENTS = 200
# In how many pieces each announces or sends a hundred megabytes, and how many do so at once.
PIECES, AT_ONCE, ROUNDS = 100, 4, 3


@pytest.fixture(scope="module")
def service(
    bentoml_home: Path,  # noqa: ARG001
    houses_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    """Two workers, which have done all that they do for the first time."""
    build_bento(store_model(houses_folder, NAME, verify(houses_folder), "1"))
    with running(tmp_path_factory.mktemp("serve"), BODY_SECONDS=str(BODY_SECONDS), LOG="off") as service:
        for _ in range(20):
            for media, body in sound().items():
                assert post(service, media, body).status_code == 200
        yield service


def post(service: Service, media: str, body: bytes) -> httpx.Response:
    """A request on a connection of its own, so that each may come to another worker."""
    return httpx.post(f"{service.url}/v1/predict", content=body, headers={"Content-Type": media}, timeout=30)


async def dribble(port: int, at_once: bytes, slowly: bytes) -> bytes:
    """Send something at once and the rest byte by byte, without an end; return the answer, if one comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(at_once)
    answer = bytearray()

    async def listen() -> None:
        # Piece by piece: whoever sends on after an answer is reset, and what he has heard would be lost.
        with suppress(ConnectionError):
            while piece := await reader.read(4096):
                answer.extend(piece)

    listening = asyncio.create_task(listen())
    sent = 0
    with suppress(ConnectionError):
        while not (answer or listening.done()):
            if sent < len(slowly):
                writer.write(slowly[sent : sent + 1])
                sent += 1
                await writer.drain()
            await asyncio.wait([listening], timeout=0.2)
    await listening
    return bytes(answer)


def test_slow_and_silent_clients_keep_nobody_waiting(service: Service) -> None:
    """Those whose body does not come in time are let go; headers and silence are for a proxy to end."""
    load = Load(service.port, {"rows": [HOUSE]}, clients=4, limit=1000)

    async def run() -> list[bytes]:
        sized = HEAD + b"Content-Length: 1000\r\n\r\n"
        chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n1000\r\n"
        endless = [asyncio.create_task(dribble(service.port, b"", HEAD * 10)) for _ in range(CLIENTS)]
        silent = [asyncio.create_task(dribble(service.port, b"", b"")) for _ in range(CLIENTS)]
        late = [dribble(service.port, start, BODY) for start in (sized, chunked) for _ in range(CLIENTS // 2)]
        _, *answers = await asyncio.gather(load.run(), *late)
        assert not any(task.done() for task in (*endless, *silent))
        for task in (*endless, *silent):
            task.cancel()
        return answers

    with weighed(service) as memory:
        answers = asyncio.run(run())
    print(f"{3 * CLIENTS} slow clients: {dict(load.outcomes)} answers to others, {memory.peak:.0f} MB more")
    assert load.outcomes == {"200": load.outcomes.total()}
    assert Counter(answer.partition(b"\r\n")[0] for answer in answers) == {
        b"HTTP/1.1 408 Request Timeout": CLIENTS
    }
    assert all(b"application/problem+json" in answer and b"3 seconds" in answer for answer in answers)
    assert service.counted("millrace_errors_total")['{kind="slow"}'] == CLIENTS
    assert memory.peak < 60


async def pour(port: int, announced: bool) -> bytes:
    """Send a hundred megabytes, their length announced or not; return the first line of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    how = b"Content-Length: %d" % (PIECES * MB) if announced else b"Transfer-Encoding: chunked"
    writer.write(HEAD + how + b"\r\n\r\n")
    piece = b" " * MB if announced else b"%x\r\n%s\r\n" % (MB, b" " * MB)
    answer = asyncio.create_task(reader.readline())
    with suppress(ConnectionError):
        for _ in range(PIECES):
            if answer.done():
                break
            writer.write(piece)
            await writer.drain()
    writer.close()
    try:
        return await answer
    except ConnectionError:
        return b""


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
def test_a_hundred_megabytes_cost_what_may_be_sent_and_no_more(service: Service, announced: bool) -> None:
    load = Load(service.port, {"rows": [HOUSE]}, clients=2)

    async def run() -> list[bytes]:
        asking = asyncio.create_task(load.run())
        answers: list[bytes] = []
        for _ in range(ROUNDS):
            answers += await asyncio.gather(*(pour(service.port, announced) for _ in range(AT_ONCE)))
        load.stopped = True
        await asking
        return answers

    with weighed(service) as memory:
        answers = asyncio.run(run())
    lines = Counter(line.split()[1] if line else b"closed" for line in answers)
    print(f"{len(answers)} bodies of 100 MB: {dict(lines)}, {memory.peak:.0f} MB more at most")
    assert set(lines) <= {b"413", b"closed"}
    assert load.outcomes == {"200": load.outcomes.total()}
    # An announced body is not read at all; another up to the limit, while it is put together.
    assert memory.peak < (30 if announced else 30 + AT_ONCE * 2 * BODY_LIMIT / MB)


def test_every_nasty_body_gets_the_same_answer_over_http(service: Service) -> None:
    bodies = corpus()
    with weighed(service) as memory:
        for body in bodies:
            answer = post(service, body.media, body.content)
            assert answer.status_code == body.status, (body.name, answer.text)
    print(f"{len(bodies)} nasty bodies: {memory.peak:.0f} MB more at most, {memory.left:.0f} MB after them")
    assert memory.peak < 400
    assert "Traceback" not in service.log.read_text()


def test_unknown_paths_and_methods_add_no_series(service: Service) -> None:
    def series() -> int:
        return len(httpx.get(f"{service.url}/metrics").text.splitlines())

    async def run() -> Counter[int]:
        async with httpx.AsyncClient(base_url=service.url, timeout=30) as client:

            async def ask(part: int) -> list[int]:
                methods = ("GET", "PATCH", "BREW", f"M{part}")
                asked = [(methods[number % 4], f"/{part}/{number}") for number in range(250)]
                return [(await client.request(method, path)).status_code for method, path in asked]

            return Counter(status for part in await asyncio.gather(*map(ask, range(8))) for status in part)

    httpx.get(f"{service.url}/nothing")
    before = series()
    statuses = asyncio.run(run())
    print(f"2,000 unknown paths and methods: answers {dict(statuses)}, {series() - before} series more")
    # What is no method is refused by the server itself.
    assert set(statuses) == {404, 400}
    assert series() == before
