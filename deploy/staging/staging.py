"""All servers of a staging together: start, stop, status."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from deploy.staging import databases, monitoring, object_store, tracking
from deploy.staging.server import Server
from deploy.staging.settings import Settings
from millrace.errors import UserError, unknown

Say = Callable[[str], None]


class Staging:
    """The servers whose data and secrets are in one folder.

    Every method may be called again, from any process: what runs is known by files in the folder.
    """

    def __init__(self, folder: Path, free_ports: bool = False) -> None:
        """Open the staging in `folder`, or begin one; `free_ports` is for a first start beside another's."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        # PostgreSQL's own user passes through it; what is inside is private file by file.
        folder.chmod(0o711)
        self._lock = FileLock(folder / "lock")
        if (folder / "settings.json").exists():
            self.settings = Settings(folder)
        else:
            with self._lock:
                self.settings = Settings(folder, free_ports)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that configs/stacks/staging.yaml refers to."""
        if "zenml_api_key" not in self.settings.secrets or "s3_key" not in self.settings.secrets:
            raise UserError("Staging has not been started yet: make staging.")
        return self.settings.environment()

    def servers(self) -> list[Server]:
        """All servers, each after those it waits for."""
        return [
            *object_store.servers(self.settings),
            databases.postgresql(self.settings),
            databases.mariadb(self.settings),
            tracking.zenml(self.settings),
            tracking.mlflow(self.settings),
            monitoring.alertmanager(self.settings, self.folder.parent),
            monitoring.prometheus(self.settings),
        ]

    def start(self, names: Iterable[str] = (), say: Say = lambda _: None) -> None:
        """Bring the named servers up, or all, side by side as far as they do not wait for one another.

        Raises:
            UserError: a server does not come up; the others that could are up.
        """
        with self._alone(say):
            servers = self._named(names)
            done: dict[str, Future[None]] = {}
            with ThreadPoolExecutor(len(servers)) as pool:
                for server in servers:
                    before = [done[name] for name in server.after if name in done]
                    done[server.name] = pool.submit(_start, server, before, say)
            # One that another waited for is the other's error, too.
            failed = {str(error): error for future in done.values() if (error := future.exception())}
            if failed:
                raise UserError("\n".join(failed)) from next(iter(failed.values()))
            if not names:
                self.settings.write_environment()

    def stop(self, names: Iterable[str] = (), say: Say = lambda _: None) -> None:
        """End the named servers, or all, those that wait for others first."""
        with self._alone(say):
            for server in reversed(self._named(names)):
                if server.stop():
                    say(f"  {server.name:<14} stopped")

    @contextmanager
    def _alone(self, say: Say) -> Iterator[None]:
        """Let no other start or stop of this staging happen meanwhile."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            say("Another start or stop is under way: waiting for its end.")
            self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()

    def _named(self, names: Iterable[str]) -> list[Server]:
        servers = {server.name: server for server in self.servers()}
        for name in names:
            if name not in servers:
                raise unknown("server", name, servers)
        return [server for name, server in servers.items() if not names or name in names]


def _start(server: Server, before: Iterable[Future[None]], say: Say) -> None:
    for future in before:
        if error := future.exception():
            raise error
    began = time.monotonic()
    try:
        fresh = server.start()
        state = f"up after {time.monotonic() - began:.1f} s" if fresh else "was up already"
    except Exception as error:
        raise UserError(f"{server.name}: {error}") from error
    say(f"  {server.name:<14} {server.address:<24} {state}")
