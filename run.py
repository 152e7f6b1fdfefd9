"""The command line: picks a pipeline, a problem and a stack, and reports how it went."""

import argparse
import gc
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from commands import PIPELINES, WITHOUT_STORE
from commands.options import OPTIONS, make_parser, refuse
from millrace.errors import Incomplete, UserError, unknown
from stacks import environment

if TYPE_CHECKING:
    from stacks.stack_files import Stack

CONFIGS = Path(__file__).parent / "configs"


def main(argv: list[str] | None = None) -> int:
    """Run one pipeline. Returns 0; 2 for what the user can mend, 3 if the rest is done; 1 for our fault."""
    started = time.perf_counter()
    arguments = make_parser(PIPELINES).parse_args(argv)
    environment.prepare()
    try:
        _run(arguments, started)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3 if isinstance(error, Incomplete) else 2
    except KeyboardInterrupt:
        print("error: stopped; the same command goes on from the finished steps.", file=sys.stderr)
        return 130
    except Exception as error:
        print(f"error: a fault of Millrace, not of yours: {_short(error)}", file=sys.stderr)
        print(f"The full account is in {_write_account()}.", file=sys.stderr)
        return 1
    return 0


def _run(arguments: argparse.Namespace, started: float) -> None:
    if arguments.check:
        _check(arguments.stack)
        return
    if not arguments.pipeline:
        raise UserError(f"Say what to run: --pipeline with one of {', '.join(PIPELINES)}; or --check.")
    if arguments.pipeline not in PIPELINES:
        raise unknown("pipeline", arguments.pipeline, PIPELINES)
    for pipelines, names in OPTIONS.items():
        if arguments.pipeline not in pipelines:
            refuse(arguments, names, f"is for --pipeline {' or '.join(pipelines)}")
    # Everything cheap that can be wrong is checked before anything slow is imported.
    if arguments.summary and not arguments.summary.absolute().parent.is_dir():
        raise UserError(f"--summary {arguments.summary}: no such folder; make it first.")
    start = PIPELINES[arguments.pipeline](arguments, CONFIGS)
    stack = _stack(arguments.to or arguments.stack)
    if arguments.pipeline in WITHOUT_STORE or (arguments.dry_run and arguments.pipeline == "promotion"):
        start(summary=arguments.summary, started=started, stack=stack)
        return
    from stacks.checks import require_health
    from stacks.start import open_stack

    require_health(stack)

    try:
        lines, dead = open_stack(stack)
        for name in dead:
            print(f"  note: the run {name} was killed; it is now marked as failed", file=sys.stderr)
        start(
            config=arguments.config or CONFIGS / f"{arguments.pipeline}.yaml",
            overrides=arguments.set,
            use_cache=not arguments.no_cache,
            summary=arguments.summary,
            started=started,
            stack=stack,
            lines=lines,
        )
    except UserError:
        raise
    except Exception as error:
        from stacks.outages import as_outage

        outage = as_outage(error, stack)
        if outage is None:
            raise
        raise outage from error


def _stack(name: str) -> "Stack":
    """The stack of a file, with this process pointed to its ZenML server if it has one."""
    from stacks.stack_files import load_stack_file

    stack = load_stack_file(name, CONFIGS / "stacks")
    if stack.server:
        environment.use_server(stack.name, stack.server.url, stack.server.api_key)
    return stack


def _check(name: str) -> None:
    """Print a table of a stack's health.

    Raises:
        UserError: something is at fault.
    """
    from stacks.checks import check_stack, table

    checks = check_stack(_stack(name))
    print(table(checks))
    faults = sum(bool(check.remedy) for check in checks)
    if faults:
        raise UserError(f"The stack '{name}' is not ready: {faults} of its parts are at fault.")


def _short(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"


def _write_account() -> Path:
    path = environment.home() / "logs" / f"fault-{time.strftime('%Y%m%d-%H%M%S')}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(traceback.format_exc(), encoding="utf-8")
    return path


if __name__ == "__main__":
    # Imports make a million objects that live to the end: searching them for garbage costs a second,
    gc.set_threshold(100_000)
    code = main()
    # and the interpreter would do it once more before it ends.
    gc.disable()
    gc.freeze()
    sys.exit(code)
