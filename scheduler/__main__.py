"""python -m scheduler start|status|kubernetes"""

import argparse
import logging
import sys
from pathlib import Path

from millrace.errors import UserError
from scheduler.settings import FILE, read_schedules
from stacks import environment


def main() -> int:
    """Do what is asked. Returns 0; 1 after a fault of ours; 2 for what the user can mend."""
    arguments = command_line().parse_args()
    environment.prepare()
    try:
        return _ACTIONS[arguments.action](arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _start(arguments: argparse.Namespace) -> int:
    from scheduler import program

    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    logging.getLogger("scheduler").setLevel(logging.INFO)
    return program.start(read_schedules(arguments.schedules), arguments.host, arguments.port)


def _status(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from scheduler import program, status
    from scheduler.queue import Queue

    settings = read_schedules(arguments.schedules)
    program.folder().mkdir(parents=True, exist_ok=True)
    queue = Queue(program.folder() / "queue.db")
    queue.check()
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=160)
    status.show(console, queue, settings, program.is_running())
    return 0


def _kubernetes(arguments: argparse.Namespace) -> int:
    from scheduler.kubernetes import manifests

    print(manifests(read_schedules(arguments.schedules), arguments.stack), end="")
    return 0


_ACTIONS = {"start": _start, "status": _status, "kubernetes": _kubernetes}


def command_line() -> argparse.ArgumentParser:
    """What can be said after `python -m scheduler`."""
    parser = argparse.ArgumentParser(
        prog="python -m scheduler", description="What runs by itself: docs/scheduler.md."
    )
    parser.add_argument("action", choices=list(_ACTIONS))
    parser.add_argument(
        "--schedules", type=Path, default=FILE, metavar="FILE", help="which file (configs/schedules.yaml)"
    )
    parser.add_argument(
        "--stack", default="production", help="for kubernetes: where its CronJobs run (%(default)s)"
    )
    # In a container that publishes its port on its machine's loopback alone.
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (%(default)s)")
    parser.add_argument("--port", type=int, default=3002, help="0: any that is free (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
