"""A Dask cluster as the engine of a job.

A worker is given the bundle's files once, also one that comes late, and loads and verifies them once. Batches
come to it over the network from the process that runs the job, and their answers go back there: a worker
needs no way to the input or the output. One that dies loses nothing: the scheduler has its batches, and gives
them to another.
"""

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import dask
import pyarrow as pa
from distributed import Client, Future, KilledWorker, Worker, WorkerPlugin, get_worker

from millrace import clusters
from millrace.batch.engines import Engine, Pending
from millrace.batch.rows import Asked, RowScorer, Scored
from millrace.bundle import Bundle, load_bundle
from millrace.clusters import connected, short
from millrace.errors import EngineError

PACKAGE = Path(__file__).parents[1]
GOES_ON = "The same command goes on from what is finished."


@contextmanager
def start(scheduler: str | None, bundle: Bundle, asked: Asked) -> Iterator[Engine]:
    """The workers of a scheduler (`tcp://HOST:PORT`), or else some of this machine's own, one a processor.

    Raises:
        EngineError: no scheduler answers, it has no workers, or these have other code or libraries.
    """
    # A batch is larger than what Dask thinks is a task.
    large = {"distributed.admin.large-graph-warning-threshold": "1GiB"}
    with dask.config.set(large), connected(scheduler) as client:
        name = f"millrace-{asked.job}"
        # Files, not the loaded model: a worker sees itself that nothing is missing or changed.
        loaded = _Loaded(_files(bundle.folder), bundle.digest, asked)
        try:
            client.register_plugin(loaded, name=name)
        except Exception as error:
            raise EngineError(f"A worker of {_named(scheduler)} cannot score: {short(error)}.") from None
        try:
            yield _Cluster(client, name, _named(scheduler))
        finally:
            # A scheduler that is gone took it along.
            with contextlib.suppress(EngineError), _reached(_named(scheduler)):
                client.unregister_worker_plugin(name)


class _Cluster:
    def __init__(self, client: Client, name: str, address: str) -> None:
        self._client, self._name, self.address = client, name, address

    def processors(self) -> int:
        with _reached(self.address):
            workers = self._client.scheduler_info()["workers"].values()
        return sum(int(worker["nthreads"]) for worker in workers)

    def submit(self, table: pa.Table, start: int, origin: str) -> Pending:
        with _reached(self.address):
            # Not `pure`: a result is asked for once, and then forgotten.
            future = self._client.submit(_score, self._name, table, start, origin, pure=False)
        return _Remote(future, self)


class _Remote:
    def __init__(self, future: Future[Scored], cluster: _Cluster) -> None:
        self._future, self._cluster = future, cluster

    def result(self) -> Scored:
        address = self._cluster.address
        while True:
            try:
                with _reached(address):
                    scored: Scored = self._future.result(timeout=clusters.WORKERS)
                return scored
            except TimeoutError:
                if not self._cluster.processors():
                    raise EngineError(f"{address}: has no workers any more. {GOES_ON}") from None

    def cancel(self) -> object:
        with contextlib.suppress(EngineError), _reached(self._cluster.address):
            self._future.cancel()
        return None


@contextmanager
def _reached(address: str) -> Iterator[None]:
    """Turn what Dask raises into one sentence."""
    try:
        yield
    except TimeoutError:
        raise
    except KilledWorker:
        raise EngineError(
            f"{address}: several workers died of one batch, perhaps for want of memory; give them more, or "
            f"lower --set batch_rows=ROWS. {GOES_ON}"
        ) from None
    except (CancelledError, OSError):
        raise EngineError(f"{address}: the scheduler is gone. {GOES_ON}") from None


class _Loaded(WorkerPlugin):
    """The bundle's files on their way to a worker, and there what scores with them."""

    def __init__(self, files: dict[str, bytes], digest: str, asked: Asked) -> None:
        self._files, self._digest, self._asked = files, digest, asked
        self._code = _code_digest()
        self._fault: str | None = "the bundle has not been loaded"
        self._scorer: RowScorer | None = None

    def setup(self, worker: Worker) -> None:
        """Verify and load the bundle.

        Raises:
            EngineError: it is damaged, or this worker has other code.
        """
        try:
            if _code_digest() != self._code:
                raise EngineError(f"{worker.address} has another version of Millrace")
            with tempfile.TemporaryDirectory(dir=worker.local_directory) as scratch:
                for name, content in self._files.items():
                    path = Path(scratch) / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
                bundle = load_bundle(Path(scratch))
                if bundle.digest != self._digest:
                    raise EngineError(f"{worker.address} was given another bundle")
                self._scorer = RowScorer(bundle, self._asked)
        except Exception as error:
            self._fault = short(error)
            raise
        self._files = {}

    @property
    def scorer(self) -> RowScorer:
        """What scores; of a worker that came late and could not load the bundle, why it does not."""
        if self._scorer is None:
            raise EngineError(f"A worker cannot score: {self._fault}.")
        return self._scorer


def _score(name: str, table: pa.Table, start: int, origin: str) -> Scored:
    """What a worker does."""
    loaded: Any = get_worker().plugins[name]
    scored: Scored = loaded.scorer.score(table, start, origin)
    return scored


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@cache
def _code_digest() -> str:
    """sha256 of this package's modules."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _named(scheduler: str | None) -> str:
    return f"--scheduler {scheduler}" if scheduler else "--engine dask"
