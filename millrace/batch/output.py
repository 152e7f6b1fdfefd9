"""Where a job writes: nobody sees half of an output, and another run of the job goes on from what is there.

An output is a folder of partitions with `_manifest.json`, which is written last and lists what belongs to
it. On this machine the folder is put together beside its place, as `.NAME.unfinished`, and moved in whole. An
object store cannot move: there the partitions are written in place, under names with the job's digest, and an
output without its manifest is none. What is finished so far stands in `_unfinished/`: a partition's record is
written after the partition.
"""

import contextlib
import fcntl
import os
import posixpath
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from millrace.batch.records import Manifest, Partition, PartRecord
from millrace.errors import UserError
from millrace.sources import Source, files
from millrace.sources.credentials import Credentials, SecretReader
from millrace.sources.files import Place, reason
from millrace.strict import Strict

MANIFEST, LEDGER, QUARANTINE = "_manifest.json", "_unfinished", "_quarantine"
Record = TypeVar("Record", bound=BaseModel)


class OutputError(UserError):
    """The output, and not the input, is at fault."""


class Begun(Strict):
    """Which job is unfinished here, when it began (seconds since 1970), and which runs worked on it."""

    job: str
    began: float
    runs: tuple[str, ...]


class Output:
    """The output of one job, unfinished."""

    def __init__(self, uri: str, read_secret: SecretReader | None = None) -> None:
        """Nothing is written yet.

        Raises:
            UserError: the URI leads nowhere.
        """
        self.uri = uri
        source = Source.model_validate(uri)
        self._credentials = Credentials(read_secret)
        filled = self._credentials.fill(source.uri or "").rstrip("/")
        if not files.is_file_uri(filled):
            raise UserError(f"{uri}: an output is a folder, here or on an object store.")
        place, _ = files.find(filled, "", source)
        if place.remote_http:
            raise UserError(f"{uri}: a web server takes no output; name a folder or an object store.")
        self.place: Place = place
        self._files: Any = place.filesystem
        self._final = place.path.rstrip("/")
        folder, name = posixpath.split(self._final)
        self._work = posixpath.join(folder, f".{name}.unfinished") if place.local else self._final
        self._replaced = posixpath.join(folder, f".{name}.replaced")
        self._lock: int | None = None

    @property
    def csv(self) -> bool:
        """Whether its partitions are CSV files, as its name says; else they are Parquet."""
        return self._final.lower().endswith(".csv")

    def refuse_overlap(self, inputs: Sequence[Place]) -> None:
        """See that the output is neither an input, nor beside them in their folder, nor around them.

        Raises:
            UserError: it is.
        """
        for place in inputs:
            if type(place.filesystem) is not type(self._files):
                continue
            mine, theirs = (os.path.realpath(p) if self.place.local else p for p in (self._final, place.path))
            if f"{theirs}/".startswith(f"{mine}/") or f"{mine}/".startswith(f"{theirs}/"):
                raise OutputError(f"{self.uri}: is the input, or holds it; name another folder.")

    def open(self, job: str, run: str, now: float, overwrite: bool) -> Begun:
        """Begin the job, or go on with it; `now` is in seconds since 1970.

        Raises:
            UserError: there is something else, another process writes it, or it cannot be written to.
        """
        try:
            return self._open(job, run, now, overwrite)
        except BaseException:
            self.close()
            raise

    def finished(self) -> tuple[dict[int, list[Partition]], dict[int, PartRecord]]:
        """The partitions that are there, by part, and the parts of which all are."""
        partitions: dict[int, list[Partition]] = {}
        parts: dict[int, PartRecord] = {}
        with self._writing():
            for path in self._list(f"{self._work}/{LEDGER}"):
                kind, _, rest = posixpath.basename(path).removesuffix(".json").partition("-")
                name = f"{LEDGER}/{posixpath.basename(path)}"
                if kind == "partition" and path.endswith(".json"):
                    partition = self._read(name, Partition)
                    if partition is not None and self._whole(partition):
                        partitions.setdefault(partition.part, []).append(partition)
                elif kind == "part" and path.endswith(".json"):
                    part = self._read(name, PartRecord)
                    if part is not None:
                        parts[int(rest)] = part
        return partitions, parts

    def write(self, name: str, content: bytes) -> None:
        """Write a file of the output, whole or not at all.

        Raises:
            UserError: it cannot be written; another attempt may do better.
        """
        path = f"{self._work}/{name}"
        with self._writing():
            if not self.place.local:
                self._files.pipe_file(path, content)
                return
            os.makedirs(posixpath.dirname(path), exist_ok=True)
            try:
                with open(f"{path}.part", "wb") as file:
                    file.write(content)
                os.replace(f"{path}.part", path)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(f"{path}.part")
                raise

    def read(self, name: str) -> bytes:
        """A file of the output as it is so far."""
        with self._writing():
            content: bytes = self._files.cat_file(f"{self._work}/{name}")
        return content

    def published(self, name: str) -> bytes:
        """A file of the output once it is whole."""
        with self._writing():
            content: bytes = self._files.cat_file(f"{self._final}/{name}")
        return content

    def keep(self, partition: Partition) -> None:
        """Write down that a partition is finished; its files have been written."""
        name = f"{LEDGER}/partition-{partition.part:05d}-{partition.number:05d}.json"
        self.write(name, partition.model_dump_json().encode())

    def keep_part(self, number: int, part: PartRecord) -> None:
        """Write down that a part has been read to its end."""
        self.write(f"{LEDGER}/part-{number:05d}.json", part.model_dump_json().encode())

    def drop(self, partition: Partition) -> None:
        """Take a finished partition out again: its record first."""
        with self._writing():
            ledger = f"{LEDGER}/partition-{partition.part:05d}-{partition.number:05d}.json"
            for name in (ledger, partition.path, partition.quarantine):
                if name is not None:
                    self._files.rm_file(f"{self._work}/{name}")

    def publish(self, manifest: Manifest) -> None:
        """Make the output whole: what the manifest does not list goes, and everybody sees the rest."""
        self.write(MANIFEST, manifest.model_dump_json(indent=2).encode() + b"\n")
        listed = {name for p in manifest.partitions for name in (p.path, p.quarantine) if name}
        with self._writing():
            for path in self._list(self._work):
                if path.removeprefix(f"{self._work}/") not in {*listed, MANIFEST}:
                    self._files.rm_file(path)
            if self.place.local:
                self._files.rm(f"{self._work}/{LEDGER}", recursive=True)
                self._move_in()
        self.close()

    def discard(self) -> None:
        """Delete what is unfinished."""
        with self._writing():
            if self.place.local:
                if self._exists(self._work):
                    self._files.rm(self._work, recursive=True)
            else:
                old = self._read(MANIFEST, Manifest)
                kept = {name for p in (old.partitions if old else ()) for name in (p.path, p.quarantine)}
                for path in self._list(self._work):
                    if path.removeprefix(f"{self._work}/") not in {*kept, MANIFEST}:
                        self._files.rm_file(path)
        self.close()

    def close(self) -> None:
        """Let another process have it."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _open(self, job: str, run: str, now: float, overwrite: bool) -> Begun:
        with self._writing():
            if self.place.local and self._files.exists(self._replaced) and not self._exists(self._final):
                # A run was killed between moving the old output away and the new one in.
                self._files.mv(self._replaced, self._final, recursive=True)
            begun = self._read(LEDGER + "/job.json", Begun)
            self._check_place(overwrite)
            self._take_lock()
            if begun is not None and begun.job != job:
                if not overwrite:
                    raise OutputError(
                        f"{self.uri}: holds an unfinished job of other input, model or settings; say it as "
                        "it was said then, or discard what is done with --overwrite."
                    )
                self.discard()
                self._take_lock()
                begun = None
            runs = (*begun.runs, run) if begun else (run,)
            begun = Begun(job=job, began=begun.began if begun else now, runs=runs)
            self.write(f"{LEDGER}/job.json", begun.model_dump_json().encode())
        return begun

    def _check_place(self, overwrite: bool) -> None:
        """Refuse a place where something is that no job of ours left, or that is not to be replaced."""
        if self.place.local and self._files.isfile(self._final):
            raise OutputError(f"{self.uri}: is a file; an output is a folder.")
        found = [path for path in self._list(self._final) if f"/{LEDGER}/" not in path]
        begun = self._read(f"{LEDGER}/job.json", Begun) is not None
        if not found or (not self.place.local and begun and f"{self._final}/{MANIFEST}" not in found):
            return
        if f"{self._final}/{MANIFEST}" not in found:
            raise OutputError(f"{self.uri}: is not empty, and no output of inference; name another folder.")
        if not overwrite:
            raise OutputError(f"{self.uri}: is there already; name another folder, or pass --overwrite.")

    def _take_lock(self) -> None:
        """Let no other process of this machine write here."""
        if not self.place.local or self._lock is not None:
            return
        os.makedirs(f"{self._work}/{LEDGER}", exist_ok=True)
        self._lock = os.open(f"{self._work}/{LEDGER}/lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise OutputError(f"{self.uri}: another process is writing it.") from None

    def _move_in(self) -> None:
        if self._exists(self._replaced):
            self._files.rm(self._replaced, recursive=True)
        if self._exists(self._final):
            os.rename(self._final, self._replaced)
        os.rename(self._work, self._final)
        if self._exists(self._replaced):
            self._files.rm(self._replaced, recursive=True)

    def _whole(self, partition: Partition) -> bool:
        """Whether the files of a finished partition are there, and as long as they were."""
        if partition.quarantine and not self._exists(f"{self._work}/{partition.quarantine}"):
            return False
        if partition.path is None:
            return True
        path = f"{self._work}/{partition.path}"
        return self._exists(path) and int(self._files.info(path)["size"]) == partition.bytes

    def _exists(self, path: str) -> bool:
        found: bool = self._files.exists(path)
        return found

    def _list(self, folder: str) -> list[str]:
        self._files.invalidate_cache()
        try:
            return sorted(self._files.find(folder))
        except FileNotFoundError:
            return []

    def _read(self, name: str, kind: type[Record]) -> Record | None:
        """A record, or None if there is none, or half of one."""
        try:
            return kind.model_validate_json(self._files.cat_file(f"{self._work}/{name}"))
        except (FileNotFoundError, ValidationError):
            return None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn what file systems raise into one sentence; each has exceptions of its own."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            why = self._credentials.hide(reason(error))
            raise OutputError(
                f"{self.uri}: cannot be written: {why}. The same command goes on from what is finished."
            ) from None
