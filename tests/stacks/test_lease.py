"""The lock that machines share: one holder at a time, taken over from the dead and never from the living."""

import json
import os
import signal
from collections.abc import Iterator

import pytest

from tests.conftest import Home
from tests.forked import Forked

PREPARE = """
import json, logging, os, sys, time
logging.getLogger("zenml").setLevel("ERROR")
from run import _stack
from stacks import lease
_stack("staging")
lease.RENEWED, lease.GIVEN_UP, lease.PAUSE = 0.2, 3.0, 0.05
from zenml.client import Client
Client().zen_store
"""
# Adds one to a number in a file, slowly enough for two at once to lose some.
COUNT = """
from pathlib import Path
counter = Path(os.environ["COUNTER"])
for _ in range(5):
    with lease.leased("lock-count"):
        number = int(counter.read_text())
        time.sleep(0.05)
        counter.write_text(str(number + 1))
"""
# Holds until it is told otherwise.
HOLD = """
with lease.leased("lock-held") as held:
    print("held", flush=True)
    sys.stdin.readline()
    try:
        held.confirm()
        print("confirmed", flush=True)
    except Exception as error:
        print(str(error), flush=True)
"""
# Another machine cannot see whether a process of this one lives.
ELSEWHERE = """
import socket
socket.gethostname = lambda: "another-machine"
"""
MODELS = "print(json.dumps([model.name for model in Client().list_models(size=100).items]))"


def start(home: Home, code: str, **variables: str) -> Forked:
    """Start code in a process of its own."""
    return Home(home.path, {**home.environment, **variables}).python("-c", PREPARE + code)


class Holder:
    """A process that holds the lease."""

    def __init__(self, home: Home, before: str = "") -> None:
        self.process = start(home, before + HOLD)

    def line(self) -> str:
        """The next thing it says."""
        return self.process.stdout.readline().strip()

    def go_on(self) -> str:
        """Let it end, and return what it says then."""
        out, _ = self.process.communicate("\n", timeout=60)
        return out.strip()


@pytest.fixture
def holders() -> Iterator[list[Holder]]:
    """Processes that are ended with the test, however it ends."""
    made: list[Holder] = []
    yield made
    for holder in made:
        if holder.process.poll() is None:
            holder.process.send_signal(signal.SIGCONT)
            holder.process.send_signal(signal.SIGKILL)
        holder.process.wait()


def test_counted_under_the_lock_nothing_is_lost(staged: Home) -> None:
    counter = staged.path.parent / "counter"
    counter.write_text("0")
    processes = [start(staged, COUNT, COUNTER=str(counter)) for _ in range(3)]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    assert counter.read_text() == "15"
    assert "lock-count" not in json.loads(_ask(staged, MODELS))


def test_of_a_killed_holder_it_is_taken_at_once_on_its_own_machine(
    staged: Home, holders: list[Holder]
) -> None:
    dead = Holder(staged)
    holders.append(dead)
    assert dead.line() == "held"
    os.kill(dead.process.pid, signal.SIGKILL)
    dead.process.wait()
    # Not given up by time: only a look at the process shows that it is gone.
    code = "lease.GIVEN_UP = 1e9\nwith lease.leased('lock-held'):\n    print('mine')"
    assert _ask(staged, code) == "mine"


def test_of_a_killed_holder_elsewhere_it_is_taken_once_it_is_silent(
    staged: Home, holders: list[Holder]
) -> None:
    dead = Holder(staged, ELSEWHERE)
    holders.append(dead)
    assert dead.line() == "held"
    os.kill(dead.process.pid, signal.SIGKILL)
    dead.process.wait()
    code = "began = time.monotonic()\nwith lease.leased('lock-held'):\n    print(time.monotonic() - began)"
    assert float(_ask(staged, code)) > 3


def test_a_living_holder_keeps_it_however_long_it_takes(staged: Home, holders: list[Holder]) -> None:
    holder = Holder(staged, ELSEWHERE)
    holders.append(holder)
    assert holder.line() == "held"
    waiting = start(staged, "with lease.leased('lock-held'):\n    print('mine')")
    # Longer than a silent holder is given.
    waiting.wait(8)
    assert waiting.poll() is None
    assert holder.go_on() == "confirmed"
    out, err = waiting.communicate(timeout=60)
    assert out.strip() == "mine"
    assert "waiting for the lock 'lock-held', held on another-machine" in err


def test_who_will_not_wait_is_told_that_it_is_held_and_takes_it_from_the_dead(
    staged: Home, holders: list[Holder]
) -> None:
    holder = Holder(staged, ELSEWHERE)
    holders.append(holder)
    assert holder.line() == "held"
    code = "with lease.leased('lock-held', wait=False) as mine:\n    print('mine' if mine else 'refused')"
    assert _ask(staged, code) == "refused"
    assert holder.go_on() == "confirmed"
    assert _ask(staged, code) == "mine"
    dead = Holder(staged, ELSEWHERE)
    holders.append(dead)
    assert dead.line() == "held"
    os.kill(dead.process.pid, signal.SIGKILL)
    dead.process.wait()
    # Nobody on another machine can see that it has died, but it renews no more.
    assert _ask(staged, code) == "mine"


def test_who_stood_still_learns_that_it_was_taken_over(staged: Home, holders: list[Holder]) -> None:
    stopped = Holder(staged, ELSEWHERE)
    holders.append(stopped)
    assert stopped.line() == "held"
    os.kill(stopped.process.pid, signal.SIGSTOP)
    next_one = Holder(staged)
    holders.append(next_one)
    assert next_one.line() == "held"
    os.kill(stopped.process.pid, signal.SIGCONT)
    assert "was taken over by another run" in stopped.go_on()
    # And giving back what it no longer has takes nothing from the one that has it.
    assert next_one.go_on() == "confirmed"


def _ask(home: Home, code: str) -> str:
    """The last line that code prints."""
    out, err = start(home, code).communicate(timeout=120)
    assert out, err
    return out.splitlines()[-1]
