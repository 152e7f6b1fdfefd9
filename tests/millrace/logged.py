"""Requests as a service would log them, and a process that logs."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from millrace.contract import Problem
from millrace.prediction_log import Entry, ModelName, read_log
from millrace.requests import Question, RequestReader
from tests.millrace.cases import make_problem

ROOT = Path(__file__).parents[2]
MODEL = ModelName("homes", "3", "d" * 64)
HOME = {"size": 1.5, "floor": 3, "kind": "flat", "lift": True, "built": "2020-01-02T03:04:05", "id": "home 1"}
# What a process needs that logs: `entry(number)`, whose request is its number.
PREPARED = """
import resource, signal, os, sys, time
from tests.millrace.cases import make_problem
from tests.millrace.logged import MODEL, HOME, asked
from millrace.prediction_log import Entry, LogSettings, Outcome, Outcomes, PredictionLog, read_log
problem = make_problem()
question = asked(problem, [HOME])
def entry(number):
    return Entry(time.time(), str(number), "champion", MODEL, 0.001, question, b'[{"prediction": 2.5}]')
def wait(done):
    while not done():
        time.sleep(0.01)
"""


def asked(problem: Problem, rows: Sequence[dict[str, Any]]) -> Question:
    """A service's question of rows."""
    return RequestReader(problem).read(json.dumps({"rows": rows}).encode())


def make_entry(
    number: int | str,
    *rows: dict[str, Any],
    problem: Problem | None = None,
    answers: list[dict[str, Any]] | None = None,
    **changes: Any,
) -> Entry:
    """A request of some rows, by default of one."""
    question = asked(problem or make_problem(), rows or [HOME])
    parts: dict[str, Any] = {"time": time.time(), "variant": "champion", "model": MODEL, "seconds": 0.001}
    parts["answers"] = json.dumps(answers or [{"prediction": 2.5}] * len(question.matrix)).encode()
    return Entry(request=str(number), question=question, **(parts | changes))


def logged(uri: str, problem: Problem | None = None, **times: Any) -> pd.DataFrame:
    """All that a log has."""
    return pd.concat(list(read_log(uri, problem or make_problem(), **times)), ignore_index=True)


def requests(uri: str) -> list[str]:
    """The requests that a log has a row of, one for each row."""
    return list(logged(uri)["_request"])


def wait(done: Callable[[], object], what: str = "it") -> None:
    """Wait for what another thread is about to do."""
    for _ in range(6000):
        if done():
            return
        time.sleep(0.01)
    raise AssertionError(f"{what} did not happen within a minute")


def run(code: str, *arguments: str) -> "subprocess.Popen[str]":
    """Start a process that logs; what it prints can be read."""
    return subprocess.Popen(
        [sys.executable, "-c", PREPARED + code, *arguments],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
