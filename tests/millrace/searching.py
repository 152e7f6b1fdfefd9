"""A small search, and as a program: `FOLDER TRIALS [HANGS]` runs it, and hangs in the trial after so many."""

import sys
import time
from pathlib import Path
from typing import Any

from millrace.selection import FoldRows, make_folds
from millrace.tuning import Search, Space, Tuning, TuningResult, tune
from tests.millrace.cases import make_case, settings

SPACE = {
    "learning_rate": Space(low=0.01, high=0.5, log=True),
    "num_leaves": Space(low=2, high=40, log=True),
    "reg_lambda": Space(choices=(0.0, 1.0, 10.0)),
}


def make_search(**changes: Any) -> Search:
    """LightGBM on the regression case, three folds."""
    case = make_case("regression")
    parts = {
        "candidate": "trees",
        "settings": settings("lightgbm"),
        "space": SPACE,
        "rows": case.rows,
        "folds": make_folds(case.table, case.problem, 3, seed=0),
        "seed": 0,
        "code": "",
    }
    return Search(**(parts | changes))


def searched(folder: Path, trials: int, search: Search | None = None, **changes: Any) -> TuningResult:
    """A search brought to a number of trials."""
    arguments = {"threads": 2, "report": lambda *_: None} | changes
    return tune(search or make_search(), Tuning(trials=trials), storage=folder, **arguments)


def hang(*_: object, **__: object) -> Any:
    """Say so, and never come back."""
    # In one call: `print` writes the line's end by another, and two threads come here.
    sys.stdout.write("hangs\n")
    sys.stdout.flush()
    time.sleep(600)


if __name__ == "__main__":
    folder, trials, *hangs = sys.argv[1:]
    for finished in map(int, hangs):
        if finished:
            searched(Path(folder), finished)
        FoldRows.outcome = hang
    searched(Path(folder), int(trials))
    print("done")
