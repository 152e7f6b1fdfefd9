"""Rows that are not in a Parquet file yet: an Arrow stream on the local disk, which outlives its process.

Parquet files end with their index, so that one which is still growing could not be read after a crash.
"""

import contextlib
import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

ENDING = ".arrows"


class Spool:
    """A stream of rows that this process holds; another that finds it unheld may take it over."""

    def __init__(self, file: BinaryIO, path: Path, schema: pa.Schema) -> None:
        """`file` is locked; see `create` and `take_over`."""
        self.path = path
        self.schema = schema
        self.rows = 0
        self._file = file
        self._born = time.monotonic()

    @classmethod
    def create(cls, folder: Path, kind: str, schema: pa.Schema) -> "Spool":
        """An empty one."""
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{kind}-{uuid.uuid4().hex}{ENDING}"
        hidden, path = folder / f".{name}", folder / name
        file = hidden.open("w+b", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Now that it is held, it may be seen.
            hidden.rename(path)
            spool = cls(file, path, schema)
            spool._append(schema.serialize())
        except BaseException:
            file.close()
            path.unlink(missing_ok=True)
            raise
        return spool

    @classmethod
    def take_over(cls, path: Path) -> "Spool | None":
        """The spool of a process that has died; None if it lives, or there was nothing in it yet."""
        try:
            file = path.open("r+b", buffering=0)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between the opening and the lock another process may have done all this.
            if path.stat().st_ino != os.fstat(file.fileno()).st_ino:
                raise FileNotFoundError
            schema = pa.ipc.open_stream(file).schema
        except (BlockingIOError, FileNotFoundError):
            file.close()
            return None
        except (pa.ArrowInvalid, EOFError, OSError):
            # Its process died before it had written the first line.
            file.close()
            path.unlink(missing_ok=True)
            return None
        return cls(file, path, schema)

    @property
    def kind(self) -> str:
        """What it holds, which is the start of its name."""
        return self.path.name.partition("-")[0]

    @property
    def id(self) -> str:
        """What sets it apart from all others."""
        return self.path.stem.partition("-")[2]

    @property
    def age(self) -> float:
        """In seconds, since it was begun or taken over."""
        return time.monotonic() - self._born

    @property
    def there(self) -> bool:
        """Whether the path still leads to it: nobody would find it after a crash."""
        try:
            return self.path.stat().st_ino == os.fstat(self._file.fileno()).st_ino
        except FileNotFoundError:
            return False

    def append(self, batch: pa.RecordBatch) -> None:
        """Append rows, all or none."""
        self._append(batch.serialize())
        self.rows += batch.num_rows

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Its rows; what a killed process had begun to write is left out."""
        self._file.seek(0)
        reader = pa.ipc.open_stream(self._file)
        with contextlib.suppress(StopIteration, EOFError, OSError, pa.ArrowInvalid):
            while True:
                yield reader.read_next_batch()

    def remove(self) -> None:
        """Delete it and let go of it."""
        if self.there:
            self.path.unlink()
        self._file.close()

    def _append(self, message: pa.Buffer) -> None:
        end = os.lseek(self._file.fileno(), 0, os.SEEK_END)
        try:
            rest = memoryview(message)
            while rest:
                rest = rest[os.write(self._file.fileno(), rest) :]
        except OSError:
            os.ftruncate(self._file.fileno(), end)
            raise
