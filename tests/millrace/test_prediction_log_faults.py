"""A log whose store fails, or whose process is killed: requests go on, and no row is lost uncounted."""

import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from millrace.prediction_log import LogSettings, LogStatus, PredictionLog
from millrace.prediction_log.log import SLICE
from tests.millrace.cases import make_problem
from tests.millrace.logged import make_entry, requests, run, wait

PROBLEM = make_problem()
KINDS = ["sqlite", "parquet"]


@pytest.fixture(params=KINDS)
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A log of each kind, where nothing is yet."""
    folder = tmp_path / "logs"
    return f"sqlite:///{folder}/log.db" if request.param == "sqlite" else str(folder)


def quick(uri: str, **changes: Any) -> PredictionLog:
    """A log that is written at once."""
    return PredictionLog(LogSettings(uri=uri, flush_seconds=0.01, **changes), PROBLEM)


def offer(log: PredictionLog, numbers: range) -> int:
    """Offer a row each and return how many found a place."""
    entry = make_entry(0)
    return sum(log.offer(msgspec.structs.replace(entry, time=time.time(), request=str(n))) for n in numbers)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program holds the database for itself."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    yield
    database.execute("ROLLBACK")
    database.close()


def is_made(path: Path) -> bool:
    """Whether a log's database has all of its tables, so that a lock is found by the rows and not by them."""
    if not path.exists():
        return False
    with closing(sqlite3.connect(path)) as database:
        last = database.execute("SELECT 1 FROM sqlite_master WHERE name = 'outcomes_key'").fetchone()
    return last is not None


def test_rows_wait_while_another_program_holds_the_database(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    log = quick(f"sqlite:///{path}")
    offer(log, range(10))
    wait(lambda: log.status.written == 10)
    with locked(path):
        assert offer(log, range(10, 1000)) == 990
        wait(lambda: log.status.fault)
        assert "locked" in str(log.status.fault)
        assert log.status.waiting == 990
    wait(lambda: log.status.written == 1000)
    assert log.close() == LogStatus(0, 1000)
    assert requests(f"sqlite:///{path}") == [str(number) for number in range(1000)]


@pytest.mark.parametrize(("policy", "kept"), [("drop_newest", 0), ("drop_oldest", 5000)])
def test_what_finds_no_place_while_the_store_is_away_is_lost_and_counted(
    tmp_path: Path, policy: str, kept: int
) -> None:
    path = tmp_path / "log.db"
    log = quick(f"sqlite:///{path}", queue_rows=10_000, when_full=policy)
    wait(lambda: is_made(path))
    with locked(path):
        offer(log, range(1))
        wait(lambda: log.status.fault)
        offer(log, range(1, 15_000))
        wait(lambda: log.status.waiting == 10_000)
        # What is being written at the moment is not dropped, so the one or the other may go.
        assert log.status.lost["unavailable"] == 5000
    status = log.close(60)
    assert status == LogStatus(0, 10_000, {"unavailable": 5000})
    found = {int(number) for number in requests(f"sqlite:///{path}")}
    assert len(found) == 10_000
    assert set(range(kept + SLICE, kept + 10_000 - SLICE)) <= found


def test_a_folder_that_goes_is_made_again(uri: str, tmp_path: Path) -> None:
    log = quick(uri)
    offer(log, range(5))
    wait(lambda: log.status.written == 5)
    shutil.rmtree(tmp_path / "logs")
    offer(log, range(5, 10))
    wait(lambda: log.status.written == 10)
    assert log.close() == LogStatus(0, 10)
    # Rows that a file had are gone with it; those after it are not written to where nobody can read them.
    assert {"5", "6", "7", "8", "9"} <= set(requests(uri))


def test_a_place_that_cannot_be_written_is_tried_until_it_can(uri: str, tmp_path: Path) -> None:
    in_the_way = tmp_path / "logs"
    in_the_way.write_text("a file where the folder should be")
    log = quick(uri)
    offer(log, range(5))
    wait(lambda: log.status.fault)
    assert log.status.waiting == 5
    in_the_way.unlink()
    wait(lambda: log.status.written == 5)
    assert log.close() == LogStatus(0, 5)
    assert len(requests(uri)) == 5


def test_a_database_that_is_damaged_is_left_alone_until_it_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    damaged = b"not a database at all" * 1000
    path.write_bytes(damaged)
    log = quick(f"sqlite:///{path}")
    offer(log, range(5))
    wait(lambda: log.status.fault)
    assert "not a database" in str(log.status.fault)
    assert log.status.waiting == 5
    assert path.read_bytes() == damaged
    path.unlink()
    wait(lambda: log.status.written == 5)
    assert log.close() == LogStatus(0, 5)
    assert requests(f"sqlite:///{path}") == ["0", "1", "2", "3", "4"]


def test_the_end_does_not_wait_for_a_store_that_is_away(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    log = quick(f"sqlite:///{path}")
    wait(path.exists)
    with locked(path):
        offer(log, range(7))
        assert log.close(0.05) == LogStatus(0, 0, {"closed": 7}, log.status.fault)


def test_the_end_waits_for_a_store_that_comes_back_in_time(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    log = quick(f"sqlite:///{path}")
    wait(path.exists)
    with locked(path):
        offer(log, range(7))
        wait(lambda: log.status.fault)
    assert log.close(60) == LogStatus(0, 7)


FULL = """
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
log = PredictionLog(LogSettings(uri=sys.argv[1], flush_seconds=0.01, queue_rows=10_000), problem)
offered = 0
while log.status.lost.get("unavailable", 0) < 500:
    log.offer(entry(offered))
    offered += 1
    if offered % 100 == 0:
        time.sleep(0.005)
fault = log.status.fault
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
for _ in range(100):
    log.offer(entry(offered))
    offered += 1
status = log.close(60)
print(offered, status.written, sum(status.lost.values()), status.fault)
print(fault)
"""


def test_a_full_disk_loses_what_it_counts_and_no_more(uri: str) -> None:
    """Files may not grow past a limit, as on a full disk, until there is space again."""
    out, err = run(FULL, uri).communicate(timeout=300)
    assert out, err
    numbers, fault = out.splitlines()
    offered, written, lost = map(int, numbers.split()[:3])
    assert numbers.endswith("None")
    assert fault
    assert lost >= 500
    assert offered == written + lost
    found = requests(uri)
    assert len(found) == len(set(found)) == written


AT_ONCE = """
log = PredictionLog(LogSettings(uri=sys.argv[1], flush_seconds=60, flush_rows=100), problem)
for number in range(100):
    log.offer(entry(number))
wait(lambda: log.status.written == 100)
for number in range(100, 130):
    log.offer(entry(number))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_9_loses_what_was_not_flushed_and_no_more(uri: str) -> None:
    killed = run(AT_ONCE, uri)
    assert killed.wait(120) == -signal.SIGKILL
    # The next process of the service finishes what this one left.
    quick(uri).close(60)
    assert requests(uri) == [str(number) for number in range(100)]


STREAM = """
log = PredictionLog(LogSettings(uri=sys.argv[1], flush_seconds=0.05, rotate_rows=500), problem)
number = 0
while True:
    log.offer(entry(number))
    number += 1
    if number % 20 == 0:
        print(log.status.written, number, flush=True)
        time.sleep(0.002)
"""


@pytest.mark.parametrize("moment", [700, 1500, 2600])
def test_killed_at_any_moment_all_that_was_written_is_there_in_order_and_once(uri: str, moment: int) -> None:
    process = run(STREAM, uri)
    assert process.stdout is not None
    written = offered = 0
    for line in process.stdout:
        written, offered = map(int, line.split())
        if written >= moment:
            process.kill()
            break
    rest, _ = process.communicate()
    # Only whole lines: the last one may have been cut.
    for line in rest.splitlines()[:-1]:
        written, offered = map(int, line.split())
    quick(uri).close(60)
    found = sorted(map(int, requests(uri)))
    assert found == list(range(len(found)))
    assert written <= len(found)
    assert offered >= moment
    print(f"{offered - len(found)} of {offered} rows were lost")


def test_a_spool_that_was_cut_is_read_up_to_there(tmp_path: Path) -> None:
    assert run(AT_ONCE, str(tmp_path)).wait(120) == -signal.SIGKILL
    (spool,) = (tmp_path / "_spool").glob("*.arrows")
    whole = spool.read_bytes()
    for rest in (whole[:-5], whole[:100], b""):
        spool.write_bytes(rest)
        quick(str(tmp_path)).close(60)
        assert not spool.exists()
        assert not list((tmp_path / "predictions").glob("*.parquet"))
    spool.write_bytes(whole + whole[-50:])
    quick(str(tmp_path)).close(60)
    assert requests(str(tmp_path)) == [str(number) for number in range(100)]


def test_a_spool_whose_file_was_made_already_makes_it_once(tmp_path: Path) -> None:
    assert run(AT_ONCE, str(tmp_path)).wait(120) == -signal.SIGKILL
    (spool,) = (tmp_path / "_spool").glob("*.arrows")
    content = spool.read_bytes()
    quick(str(tmp_path)).close(60)
    # As if the process that recovered it had died between the two.
    spool.write_bytes(content)
    quick(str(tmp_path)).close(60)
    assert len(requests(str(tmp_path))) == 100
