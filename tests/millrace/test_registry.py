"""Who is champion, and who was: by MLflow's own registry in SQLite."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient

from millrace.registry import CHALLENGER, CHAMPION, CHAMPIONS_TAG, Registry

VERSIONS = ("1", "2", "3")


class CrashError(Exception):
    """The process died here."""


class Crashing:
    """MLflow's client that dies before the given one of its writes."""

    def __init__(self, client: MlflowClient, writes: int) -> None:
        self.client = client
        self.writes = writes

    def __getattr__(self, name: str) -> Any:
        method: Callable[..., Any] = getattr(self.client, name)
        if not name.startswith(("set_", "delete_")):
            return method

        def call(*arguments: Any) -> Any:
            if self.writes == 0:
                raise CrashError
            self.writes -= 1
            return method(*arguments)

        return call


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A registered model of three versions."""
    folder: Path = tmp_path_factory.mktemp("registry")
    made = Registry("houses", f"sqlite:///{folder}/mlflow.db")
    made.client.create_registered_model("houses")
    for _ in VERSIONS:
        made.client.create_model_version("houses", str(folder))
    return made


def empty(registry: Registry) -> None:
    """Take back whatever was done with the versions."""
    model = registry.client.get_registered_model("houses")
    for alias in model.aliases:
        registry.client.delete_registered_model_alias("houses", alias)
    for tag in model.tags:
        registry.client.delete_registered_model_tag("houses", tag)


def champion(registry: Registry) -> str | None:
    found = registry.with_alias(CHAMPION)
    return found.version if found else None


def roll_back(registry: Registry) -> None:
    move = registry.next_roll_back()
    if move is not None:
        registry.roll_back(move)
        registry.end_roll_back()


def crash(registry: Registry, writes: int, what: Callable[[Registry], None]) -> bool:
    """Do something that dies before a write; whether it came so far."""
    whole = registry.client
    registry.client = Crashing(whole, writes)
    try:
        what(registry)
    except CrashError:
        return True
    finally:
        registry.client = whole
    return False


ACTIONS = st.lists(st.sampled_from([*VERSIONS, "back"]), max_size=8)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS)
def test_a_roll_back_takes_the_last_change_of_champion_back(registry: Registry, actions: list[str]) -> None:
    empty(registry)
    expected: list[str] = []
    for action in actions:
        if action == "back":
            roll_back(registry)
            expected = expected[: max(len(expected) - 1, min(len(expected), 1))]
        else:
            registry.promote(action)
            expected += [action] if expected[-1:] != [action] else []
        assert registry.champions() == expected
        assert champion(registry) == (expected[-1] if expected else None)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=ACTIONS, action=st.sampled_from([*VERSIONS, "back"]), writes=st.integers(0, 5))
def test_killed_at_any_write_the_same_command_ends_as_if_it_had_not_been(
    registry: Registry, before: list[str], action: str, writes: int
) -> None:
    def do(registry: Registry) -> None:
        if action == "back":
            roll_back(registry)
        else:
            registry.promote(action)

    ends = []
    for dies in (False, True):
        empty(registry)
        for earlier in before:
            roll_back(registry) if earlier == "back" else registry.promote(earlier)
        if not dies:
            do(registry)
        elif crash(registry, writes, do):
            assert champion(registry) in (*registry.champions(), None)
            do(registry)
        ends.append((champion(registry), registry.champions(), registry.next_roll_back()))
    assert ends[0] == ends[1]


def test_who_sets_the_alias_by_hand_is_followed(registry: Registry) -> None:
    empty(registry)
    for version in ("1", "2"):
        registry.promote(version)
    registry.client.set_registered_model_alias("houses", CHAMPION, "3")
    assert registry.champions() == ["1", "2", "3"]
    registry.client.set_registered_model_alias("houses", CHAMPION, "1")
    assert registry.champions() == ["1"]
    assert registry.next_roll_back() is None


def test_a_deleted_version_is_not_gone_back_to(registry: Registry) -> None:
    empty(registry)
    gone = registry.client.create_model_version("houses", "nowhere").version
    for version in ("1", str(gone), "2"):
        registry.promote(version)
    registry.client.delete_model_version("houses", gone)
    move = registry.next_roll_back()
    assert move is not None
    assert (move.left, move.version) == ("2", "1")


def test_a_champion_that_comes_back_is_no_longer_challenger(registry: Registry) -> None:
    empty(registry)
    registry.promote("1")
    registry.promote("2")
    registry.mark_challenger("1")
    roll_back(registry)
    assert champion(registry) == "1"
    assert registry.with_alias(CHALLENGER) is None


def test_the_tag_stays_within_what_mlflow_takes(registry: Registry) -> None:
    empty(registry)
    kept = " ".join(["1", "2"] * 60)
    registry.client.set_registered_model_tag("houses", CHAMPIONS_TAG, kept)
    registry.client.set_registered_model_alias("houses", CHAMPION, "2")
    registry.promote("3")
    assert registry.champions() == [*["1", "2"] * 60, "3"][-100:]
