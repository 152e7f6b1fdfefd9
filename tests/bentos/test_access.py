"""API keys: who is let in, with what, and how often."""

import hashlib
from pathlib import Path

import pytest

from bentos import access
from bentos.access import Bucket, Denied, Gate, Key
from millrace.errors import UserError


def key(text: str, *scopes: str, per_minute: int | None = None) -> Key:
    return Key.model_validate(
        {"sha256": hashlib.sha256(text.encode()).hexdigest(), "scopes": scopes, "per_minute": per_minute}
    )


GATE = Gate({"page": key("one", "predict"), "owner": key("two", "admin")})


@pytest.mark.parametrize(
    ("shown", "scope", "status"),
    [
        ("one", "predict", None),
        ("one", "feedback", 403),
        ("one", "admin", 403),
        ("two", "predict", None),
        ("two", "admin", None),
        ("three", "predict", 401),
        ("", "predict", 401),
        (None, "predict", 401),
        (hashlib.sha256(b"one").hexdigest(), "predict", 401),
    ],
)
def test_a_key_opens_its_scopes(shown: str | None, scope: access.Scope, status: int | None) -> None:
    if status is None:
        GATE.admit(shown, scope)
    else:
        with pytest.raises(Denied) as denied:
            GATE.admit(shown, scope)
        assert denied.value.status == status
        assert ("WWW-Authenticate" in denied.value.headers) == (status == 401)
        assert "one" not in denied.value.message.split()


def test_a_limit_is_a_minutes_worth_that_fills_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(access, "monotonic", lambda: now)
    gate = Gate({"page": key("one", "predict", per_minute=120)}, workers=2)
    for _ in range(60):
        gate.admit("one", "predict")
    with pytest.raises(Denied) as denied:
        gate.admit("one", "predict")
    assert (denied.value.status, denied.value.headers["Retry-After"]) == (429, "1")
    now += 2
    gate.admit("one", "predict")
    gate.admit("one", "predict")
    with pytest.raises(Denied):
        gate.admit("one", "predict")


def test_a_clock_that_stands_gives_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "monotonic", lambda: 5.0)
    bucket = Bucket(per_minute=3)
    assert [bool(bucket.take()) for _ in range(5)] == [False] * 3 + [True] * 2


def test_keys_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(f"keys:\n  page: {{sha256: {hashlib.sha256(b'one').hexdigest()}, scopes: [predict]}}\n")
    Gate.read(path, workers=1).admit("one", "predict")
    path.write_text("keys:\n  page: {sha256: one, scopes: [predict]}\n")
    with pytest.raises(UserError, match=r"keys.yaml, line 2: 'keys.page.sha256'"):
        Gate.read(path, workers=1)
    path.write_text(f"keys:\n  page: {{sha256: {'0' * 64}, scopes: [predicts]}}\n")
    with pytest.raises(UserError, match="Did you mean 'predict'"):
        Gate.read(path, workers=1)
