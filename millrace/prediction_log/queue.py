"""What waits to be written: a queue bounded in rows that never makes the one who fills it wait."""

from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock

from millrace.prediction_log.entries import Item
from millrace.prediction_log.settings import WhenFull


class RowQueue:
    """A bounded queue; each row that finds or keeps no place is counted in `lost`, by reason.

    `rows` are those that wait, with those that were taken and are not `done`. `reason` is why there is
    no place at present: `full`, unless the one who takes says otherwise.
    """

    def __init__(self, limit: int, when_full: WhenFull) -> None:
        """At most `limit` rows."""
        self.rows = 0
        self.lost: Counter[str] = Counter()
        self.reason = "full"
        self._limit = limit
        self._drop_oldest = when_full == "drop_oldest"
        self._items: deque[Item] = deque()
        self._closed = False
        # Held for a few additions at a time, never while anything is written.
        self._lock = Lock()

    def put(self, item: Item) -> bool:
        """Append an item, unless there is no place for its rows."""
        size = len(item)
        with self._lock:
            if self._closed:
                self.lost["closed"] += size
                return False
            if self.rows + size > self._limit and not self._make_room(size):
                self.lost[self.reason] += size
                return False
            self._items.append(item)
            self.rows += size
        return True

    def __len__(self) -> int:
        """How many items wait that nobody has taken."""
        return len(self._items)

    def take(self, limit: int) -> list[Item]:
        """The oldest items, at most `limit`; they keep their place until they are `done`."""
        taken: list[Item] = []
        # Without the lock, so that nobody who fills the queue waits for thousands of these.
        with suppress(IndexError):
            while len(taken) < limit:
                taken.append(self._items.popleft())
        return taken

    def done(self, items: Sequence[Item], lost: str = "") -> None:
        """Give the place of taken items free; `lost` is why they were not written, if they were not."""
        size = size_of(items)
        with self._lock:
            self.rows = max(0, self.rows - size)
            if lost:
                self.lost[lost] += size

    def put_back(self, items: Sequence[Item]) -> None:
        """Let taken items wait in front of all others again."""
        self._items.extendleft(reversed(items))

    def close(self) -> None:
        """Take no more."""
        with self._lock:
            self._closed = True

    def abandon(self) -> None:
        """Count all that is not done as lost."""
        with self._lock:
            self._items.clear()
            if self.rows:
                self.lost["closed"] += self.rows
            self.rows = 0

    def _make_room(self, size: int) -> bool:
        if not self._drop_oldest or size > self._limit:
            return False
        while self.rows + size > self._limit:
            try:
                oldest = self._items.popleft()
            except IndexError:
                return False
            self.rows -= len(oldest)
            self.lost[self.reason] += len(oldest)
        return True


def size_of(items: Sequence[Item]) -> int:
    """How many rows items have."""
    return sum(len(item) for item in items)
