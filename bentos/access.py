"""Who may ask for what, and how often: API keys, known by their hashes alone.

A file of them, by the names of their owners; a key itself is nowhere but with its owner:

    keys:
      website: {sha256: 5e884898da28047151d0e56f8dc62927..., scopes: [predict], per_minute: 600}
"""

import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Annotated, Literal

from pydantic import Field

from millrace.strict import Strict
from millrace.yaml_files import read_model

Scope = Literal["predict", "feedback", "admin"]
MINUTE = 60.0


class Key(Strict):
    """A key's hash, what it opens, and how many requests a minute; `admin` opens everything."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: tuple[Scope, ...] = Field(min_length=1)
    per_minute: int | None = Field(None, ge=1)


class KeyFile(Strict):
    """The keys by the names of their owners."""

    keys: dict[str, Key] = Field(min_length=1)


class Denied(Exception):  # noqa: N818 - as HTTP says it
    """A request that is not let in: the status, and what to change, in a sentence."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


class Gate:
    """Lets requests in by their keys. Each worker counts for itself, up to its part of a key's limit."""

    def __init__(self, keys: Mapping[str, Key], workers: int = 1) -> None:
        self._keys = list(keys.values())
        self._buckets = [Bucket(key.per_minute / workers) if key.per_minute else None for key in self._keys]

    @classmethod
    def read(cls, path: Path, workers: int) -> "Gate":
        """The gate of a file of keys.

        Raises:
            UserError: no such file, or not of that form.
        """
        return cls(read_model(path, KeyFile).keys, workers)

    def admit(self, key: str | None, scope: Scope) -> None:
        """Let a request in that shows `key` and wants `scope`.

        Raises:
            Denied: 401 without a known key, 403 without the scope, 429 over the limit.
        """
        if key is None:
            raise Denied(
                401, "Send your API key as 'Authorization: Bearer KEY'.", {"WWW-Authenticate": "Bearer"}
            )
        shown, found = hashlib.sha256(key.encode()).hexdigest(), None
        # All of them, so that the time it takes tells nothing of which one was close.
        for position, known in enumerate(self._keys):
            if hmac.compare_digest(shown, known.sha256):
                found = position
        if found is None:
            raise Denied(401, "This API key is not known here.", {"WWW-Authenticate": "Bearer"})
        if not {scope, "admin"} & set(self._keys[found].scopes):
            raise Denied(403, f"This API key does not open '{scope}'.", {})
        bucket = self._buckets[found]
        if bucket is not None and (wait := bucket.take()):
            raise Denied(
                429, "This API key has made more requests than it may.", {"Retry-After": f"{wait:.0f}"}
            )


class Bucket:
    """A minute's worth of requests that fills up evenly."""

    def __init__(self, per_minute: float) -> None:
        self._rate = per_minute / MINUTE
        self._most = max(per_minute, 1.0)
        self._left, self._at = self._most, monotonic()

    def take(self) -> float:
        """Take one request out: 0, or in how many seconds, at least one, there will be one."""
        now = monotonic()
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return max((1 - self._left) / self._rate, 1.0)
