"""A line for each step as it starts and ends, in place of ZenML's log."""

import logging
import re
import sys

STARTED = re.compile(r"Step `(.+)` has started")
FINISHED = re.compile(r"Step `(.+)` has finished in `(.+)`")
CACHED = re.compile(r"Using cached version of step `(.+)`")


class StepLines(logging.Handler):
    """Turns the messages of ZenML's step launcher into progress lines on standard error."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.running = 0
        self.cached = 0
        self.ran: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if match := CACHED.search(message):
            self.cached += 1
            self._line(f"  {match[1]}: unchanged, taken from the cache")
        elif match := FINISHED.search(message):
            self.ran.append(match[1])
            self._line(f"  {match[1]}: done in {match[2]}")
        elif match := STARTED.search(message):
            self._line(f"  {match[1]} ...")

    def _line(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def show_steps() -> StepLines:
    """Replace ZenML's console log by progress lines."""
    from zenml.logger import ZenMLConsoleHandler

    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, ZenMLConsoleHandler):
            root.removeHandler(handler)
    log = logging.getLogger("zenml")
    # One process may run several pipelines, each with lines of its own.
    for handler in list(log.handlers):
        if isinstance(handler, StepLines):
            log.removeHandler(handler)
    lines = StepLines()
    log.addHandler(lines)
    return lines
