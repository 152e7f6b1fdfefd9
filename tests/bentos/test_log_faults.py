"""A prediction log that is locked or has no space: predictions go on; what is lost is counted and told."""

import re
import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from bentos.build import build_bento, store_model
from millrace.bundle import verify
from tests.bentos.running import HOUSE, NAME, Service, running, wait_for

ROWS, WORKERS = 1000, 2
# Rows that may wait in a worker.
QUEUE = 10_000
BODY = {"rows": [HOUSE] * ROWS}
Fault = Callable[[Service, Path], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log") / "log.db"


@pytest.fixture(scope="module")
def service(
    bentoml_home: Path,  # noqa: ARG001
    houses_folder: Path,
    database: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    build_bento(store_model(houses_folder, NAME, verify(houses_folder), "1"))
    log = {"LOG": f"sqlite:///{database}", "LOG_FLUSH_SECONDS": "0.1", "LOG_QUEUE_ROWS": str(QUEUE)}
    with running(tmp_path_factory.mktemp("serve"), WORKERS=str(WORKERS), **log) as service:
        yield service


@contextmanager
def locked(_: Service, database: Path) -> Iterator[None]:
    """Another process has the database for itself, longer than it is waited for."""
    connection = sqlite3.connect(database, isolation_level=None, timeout=30)
    connection.execute("BEGIN EXCLUSIVE")
    yield
    connection.execute("ROLLBACK")
    connection.close()


@contextmanager
def full(service: Service, database: Path) -> Iterator[None]:
    """No file of the workers may grow past what the database has, as on a full disk."""
    limit = max(path.stat().st_size for path in database.parent.iterdir()) + 8192
    workers, endless = service.workers, resource.RLIM_INFINITY
    for worker in workers:
        worker.rlimit(psutil.RLIMIT_FSIZE, (limit, endless))
    yield
    for worker in workers:
        worker.rlimit(psutil.RLIMIT_FSIZE, (endless, endless))


def ask(service: Service) -> int:
    """Ask some times, each on a connection of its own; how many rows were answered."""
    answers = [httpx.post(f"{service.url}/v1/predict", json=BODY, timeout=30) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200] * 5
    return sum(len(answer.json()["predictions"]) for answer in answers)


@pytest.mark.parametrize("fault", [locked, full], ids=["locked", "full"])
def test_predictions_go_on_while_the_log_cannot_be_written(
    fault: Fault, service: Service, database: Path
) -> None:
    said = service.log.stat().st_size

    def told(sentence: str) -> int:
        """In how many lines of the service's log it stands since then."""
        return len(re.findall(sentence, service.log.read_text()[said:]))

    def total(name: str) -> int:
        return int(sum(service.counted(f"millrace_log_{name}").values()))

    written, lost = total("rows_total"), total("lost_total")
    answered = ask(service)
    wait_for(lambda: total("rows_total") == written + answered)
    with fault(service, database):
        # A lock is waited for before it is a fault; what is lost until then is lost to a full queue.
        while total("lost_total") < lost + 3 * QUEUE or total("failing") < WORKERS:
            answered += ask(service)
        answered += ask(service)
        assert httpx.get(f"{service.url}/readyz").status_code == 200
        wait_for(lambda: service.counted("millrace_log_lost_total")['{reason="unavailable"}'] > 0)
        wait_for(lambda: told("ERROR.*loses rows") > 0)
        assert told("WARNING.*cannot be written: .*(locked|full|I/O)") > 0
    back = wait_for(lambda: total("failing") == 0 and total("queue_rows") == 0)
    written, lost = total("rows_total") - written, total("lost_total") - lost
    print(f"{answered} rows answered, {written} written, {lost} lost and counted; back after {back:.1f} s")
    assert answered == written + lost
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT count(*) FROM predictions").fetchone() == (total("rows_total"),)
    losing = told("loses rows")
    wait_for(lambda: told(r"loses no more rows; \d+ are lost since the start") == losing)
    # Once a worker, and again only if a little space was found in between: never once a row or an attempt.
    assert losing <= 3 * WORKERS
    assert WORKERS <= told("cannot be written:") <= 3 * WORKERS
    before, more = total("rows_total"), ask(service)
    wait_for(lambda: total("rows_total") == before + more)
