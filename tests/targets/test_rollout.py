"""Who has the traffic after a rollout, whatever went wrong: on a target that only keeps what it is asked."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from millrace.errors import UserError
from targets.files import KINDS, load_target_file, target_names
from targets.rollout import Outcome, Watch, _too_many, roll_out
from targets.smoke import same
from targets.target import Release, Traffic
from tests.conftest import ROOT

OLD, NEW = (
    Release(problem="houses", version=version, digest=f"d{version}", bento=f"houses:{version}")
    for version in ("1", "2")
)
NO_TRAFFIC = Traffic(0, 0)
STILL = Watch(seconds=0, max_failed=0.01)


class Recorded:
    """A `Target` that is nowhere: it keeps what it was asked, and fails where it is told to."""

    runs_images = False
    registry = None
    url = "http://front"

    def __init__(self, fails: str = "", traffic: Traffic = NO_TRAFFIC) -> None:
        self.asked: list[str] = []
        self.active: Release | None = OLD
        self._before: Release | None = None
        self._candidate: Release | None = None
        self._fails = fails
        self._traffic = traffic

    def _note(self, name: str) -> None:
        self.asked.append(name)
        if name == self._fails:
            raise UserError(f"{name} failed.")

    def serving(self) -> Release | None:
        return self.active

    def start(self, release: Release) -> str:
        self._candidate, self._before = release, self.active
        self._note("start")
        return "http://candidate"

    def switch(self) -> None:
        self._note("switch")
        self.active = self._candidate

    def traffic(self) -> Traffic:
        self._note("traffic")
        return self._traffic

    def switch_back(self) -> None:
        self._note("switch_back")
        self.active = self._before

    def retire(self) -> None:
        self._note("retire")

    def discard(self) -> None:
        self._note("discard")


class Asked:
    """A `Smoke` whose answers are set."""

    rows = 20

    def __init__(self, fails: bool = False, answers: Iterator[bool] | None = None) -> None:
        self._fails = fails
        self._answers = answers

    def check(self, url: str) -> None:
        assert url == "http://candidate"
        if self._fails:
            raise UserError("another bundle.")

    def ask(self, url: str) -> bool:
        assert url == "http://front"
        return next(self._answers) if self._answers else True


def rolled(target: Recorded, smoke: Any = None) -> Outcome:
    return roll_out(target, NEW, smoke or Asked(), STILL, [].append)


def test_a_good_one_takes_over() -> None:
    target = Recorded(traffic=Traffic(1000, 10))
    found = rolled(target)
    assert target.asked == ["start", "switch", "traffic", "retire"]
    assert (found.result, found.before, found.requests, found.failed) == ("deployed", OLD, 1000, 10)


def test_one_that_cannot_start_is_refused() -> None:
    target = Recorded(fails="start")
    assert rolled(target).result == "refused"
    assert target.asked == ["start", "discard"]
    assert target.active == OLD


def test_one_that_answers_otherwise_is_refused() -> None:
    target = Recorded()
    found = rolled(target, Asked(fails=True))
    assert (found.result, found.why) == ("refused", "another bundle.")
    assert target.asked == ["start", "discard"]


def test_one_whose_requests_fail_is_taken_back() -> None:
    target = Recorded(traffic=Traffic(1000, 11))
    found = rolled(target)
    assert target.asked == ["start", "switch", "traffic", "switch_back", "discard"]
    assert found.result == "rolled_back"
    assert found.why == "11 of 1,000 requests failed; 1.00% may"
    assert target.active == OLD


def test_so_is_one_that_nobody_asks_and_that_does_not_answer_us() -> None:
    target = Recorded()
    found = rolled(target, Asked(answers=iter([False])))
    assert found.why == "1 of 1 self-test requests failed; 1.00% may"
    assert target.active == OLD


@pytest.mark.parametrize("fails", ["switch", "traffic"])
def test_a_target_that_fails_afterwards_is_taken_back_too(fails: str) -> None:
    target = Recorded(fails=fails)
    with pytest.raises(UserError, match=f"{fails} failed"):
        rolled(target)
    assert target.asked[-2:] == ["switch_back", "discard"]
    assert target.active == OLD


@pytest.mark.parametrize(
    ("requests", "failed", "over", "too_many"),
    [
        (19, 19, False, False),
        (20, 1, False, True),
        (19, 1, True, True),
        (1000, 10, True, False),
        (1000, 11, False, True),
        (0, 0, True, False),
        # A proxy may have counted the failures before the requests.
        (0, 3, True, True),
    ],
)
def test_how_many_may_fail(requests: float, failed: float, over: bool, too_many: bool) -> None:
    assert _too_many(Traffic(requests, failed), 0.01, over) is too_many


def test_answers_are_the_same_up_to_rounding() -> None:
    recorded = {"prediction": "a", "probabilities": {"a": 0.75, "b": 0.25}}
    assert same(json.loads(json.dumps(recorded)), recorded)
    assert same({"prediction": "a", "probabilities": {"a": 0.7500001, "b": 0.25}}, recorded)
    assert not same({"prediction": "b", "probabilities": {"a": 0.75, "b": 0.25}}, recorded)
    assert not same({"prediction": "a", "probabilities": {"a": 0.74, "b": 0.26}}, recorded)
    assert not same({"prediction": "a"}, recorded)
    assert not same({"prediction": None}, {"prediction": 1.0})


@pytest.mark.parametrize("name", target_names(ROOT / "configs" / "targets"))
def test_the_shipped_targets_are_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import re

    for variable in re.findall(r"\$\{(\w+)\}", (ROOT / "configs" / "targets" / f"{name}.yaml").read_text()):
        monkeypatch.setenv(variable, "1")
    assert load_target_file(name, ROOT / "configs" / "targets").kind in KINDS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: proces\n", "its kind is 'proces'; known: .* Did you mean 'process'"),
        ("kind: process\nprot: 1\n", "line 2: unknown key 'prot'. Did you mean 'port'"),
        ("kind: process\nport: 0\n", "line 2: 'port': input should be greater than or equal to 1"),
        ("kind: process\napi_key: ${NOT_SET}\n", "set neither in the environment"),
        ("kind: process\nmax_failed: 2\n", "line 2: 'max_failed'"),
    ],
)
def test_a_faulty_file_is_told_by_line_and_key(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=said):
        load_target_file(str(file), tmp_path)


def test_a_file_that_names_no_target_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "it's mine.yaml"
    file.write_text("kind: process\n")
    with pytest.raises(UserError, match="a target is called as its file"):
        load_target_file(str(file), tmp_path)


def test_an_unknown_target_is_told_with_the_nearest() -> None:
    with pytest.raises(UserError, match="Did you mean 'process'"):
        load_target_file("proces", ROOT / "configs" / "targets")
