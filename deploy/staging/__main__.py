"""python -m deploy.staging start|stop|status|env [SERVER ...]"""

import argparse
import shlex
import sys
import time

from deploy.staging.staging import Staging
from millrace import processes
from millrace.errors import UserError
from stacks import environment


def main() -> int:
    """Do what is asked. Returns 0; 1 when the status is not "all up"; 2 for what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m deploy.staging", description=__doc__)
    parser.add_argument("action", choices=["start", "stop", "status", "env"])
    parser.add_argument("servers", nargs="*", metavar="SERVER", help="only these; all if none is named")
    parser.add_argument("--free-ports", action="store_true", help="at a first start: any free ports")
    arguments = parser.parse_args()
    try:
        staging = Staging(environment.home() / "staging", arguments.free_ports)
        return {"start": _start, "stop": _stop, "status": _status, "env": _env}[arguments.action](
            staging, arguments.servers
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _say(line: str) -> None:
    # In one piece: several servers may have something to say at once.
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _start(staging: Staging, names: list[str]) -> int:
    began = time.monotonic()
    staging.start(names, say=_say)
    print(f"Staging is up after {time.monotonic() - began:.0f} s. Data, logs and secrets: {staging.folder}")
    return 0


def _stop(staging: Staging, names: list[str]) -> int:
    staging.stop(names, say=_say)
    print("Staging is stopped." if not names else "Stopped.")
    return 0


def _status(staging: Staging, _: list[str]) -> int:
    up = []
    for server in staging.servers():
        running = processes.running(server.record)
        up.append(server.is_up())
        state = "up" if up[-1] else "does not answer" if running else "stopped"
        memory = sum(process.memory_info().rss for process in running) / 2**20
        print(f"  {server.name:<14} {server.address:<24} {state:<16} {memory:6.0f} MB")
    return 0 if all(up) else 1


def _env(staging: Staging, _: list[str]) -> int:
    for name, value in {**staging.environment, **staging.settings.for_other_programs()}.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
