"""What an answer costs between the bytes of a request and those of the reply, in microseconds a row.

    .venv/bin/python benchmarks/single_row.py

Reads ../shared/data/california_housing.csv. Two models of it: 300 LightGBM trees on the eight columns as
they are, and the default champion with its transforms, trained on the spot. Bodies of 1, 100 and 10,000
rows, each time of other rows, in one thread. Beside them: the ways that a service usually takes. A figure
is the median of five rounds, and what is compared in one line is measured in one round. The last lines
are the explanation of one row.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.accuracy import DATA, INPUTS, PROBLEM, TARGET, champion  # noqa: E402
from millrace.bundle import FittedModel  # noqa: E402
from millrace.models import TrainingRows, fit_model  # noqa: E402
from millrace.models.boosting import LightGBMModel, LightGBMSettings  # noqa: E402
from millrace.requests import RequestReader, write  # noqa: E402
from millrace.scoring import Scorer  # noqa: E402

SIZES = (1, 100, 10_000)
# How many bodies of each size a round reads: so many that a row is not asked twice in a row.
BODIES = {1: 500, 100: 10, 10_000: 1}
ROUNDS, EXPLAINED = 5, 50
TREES = LightGBMSettings(n_estimators=300, learning_rate=0.1, num_leaves=31, colsample_bytree=1, subsample=1)
Work = Callable[[Any], object]


def main() -> int:
    """Print the tables."""
    if not DATA.is_file():
        print(f"error: {DATA} is not there; put scikit-learn's California Housing into it as CSV.")
        return 2
    table = pd.read_csv(DATA).sample(frac=1, random_state=0, ignore_index=True)
    training, asked = table.iloc[:16_512], table.iloc[-10_000:][INPUTS]
    plain = PROBLEM.model_copy(update={"transforms": ()})
    rows = TrainingRows.of(training, plain)
    trees = FittedModel(plain, rows.state, fit_model(TREES, rows, seed=0, threads=1))
    report("300 LightGBM trees, 8 columns", trees, asked, _peers(trees, training))
    best = champion("training.yaml", training)
    members = getattr(best.model, "members", [])
    named = ", ".join(f"{member.weight:g} {member.name}" for member in members)
    report(f"default champion: {best.model.kind} ({named})", best, asked, {})
    return 0


def report(title: str, fitted: FittedModel, asked: pd.DataFrame, peers: dict[str, Work]) -> None:
    """Print one model's table."""
    reader, scorer = RequestReader(fitted.problem), Scorer(fitted)
    given: dict[str, Callable[[pd.DataFrame], Any]] = {
        "body": lambda part: json.dumps({"rows": part.to_dict("records")}).encode(),
        "inputs": lambda part: np.ascontiguousarray(part.to_numpy()),
        "columns": lambda part: {name: part[name].tolist() for name in INPUTS},
        "frame": lambda part: part,
    }

    def answer(body: bytes) -> bytes:
        question = reader.read(body)
        return msgspec.json.encode(write(fitted, scorer.predict(question.matrix)))

    lines: dict[str, tuple[str, Work]] = {
        "all: bytes in, bytes out": ("body", answer),
        "  read: decoded, checked, encoded": ("body", reader.read),
        "  transforms": ("inputs", fitted.state.expand),
        "  transforms and trees": ("inputs", scorer.predict),
        "  write: answers as JSON": ("inputs", lambda rows: msgspec.json.encode(write(fitted, rows[:, 0]))),
        "FittedModel.predict of columns": ("columns", fitted.predict),
    }
    lines |= {name: ("inputs" if "Booster" in name else "frame", work) for name, work in peers.items()}
    print(f"\n{title}\n{'microseconds a row':<36}" + "".join(f"{size:>14,}" for size in SIZES))
    figures: dict[str, list[float]] = {name: [] for name in lines}
    for size in SIZES:
        parts = [asked.iloc[start : start + size] for start in range(0, BODIES[size] * size, size)]
        made = {kind: [make(part) for part in parts] for kind, make in given.items()}
        work = {name: (run, made[kind]) for name, (kind, run) in lines.items()}
        for name, seconds in _medians(work).items():
            figures[name].append(1e6 * seconds / (size * len(parts)))
    for name, found in figures.items():
        ratios = [
            figure / whole for figure, whole in zip(found, figures["all: bytes in, bytes out"], strict=True)
        ]
        cells = [f"{figure:8.1f} {ratio:4.1f}x" for figure, ratio in zip(found, ratios, strict=True)]
        print(f"{name:<36}" + "".join(f"{cell:>14}" for cell in cells))
    single = cycle(np.ascontiguousarray(asked.to_numpy())[:, None])
    print(f"{'one row explained, median':<36}{1e6 * _median_of_one(scorer.explain, single):>8.0f}")


def _peers(fitted: FittedModel, training: pd.DataFrame) -> dict[str, Work]:
    """The same trees, asked as they usually are."""
    from lightgbm import LGBMRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    assert isinstance(fitted.model, LightGBMModel)
    booster = fitted.model.booster
    pipeline = make_pipeline(
        StandardScaler().set_output(transform="pandas"), LGBMRegressor(n_estimators=300, verbosity=-1)
    )
    pipeline.fit(training[INPUTS], training[TARGET])
    return {
        "Booster.predict, one thread": lambda rows: booster.predict(rows, num_threads=1),
        "Booster.predict": booster.predict,
        "scikit-learn Pipeline, DataFrame": pipeline.predict,
    }


def _medians(work: dict[str, tuple[Work, list[Any]]]) -> dict[str, float]:
    """Median seconds of asking each of the given, all of the work in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(ROUNDS + 1):
        for name, (run, given) in work.items():
            started = time.perf_counter()
            for asked in given:
                run(asked)
            seconds[name].append(time.perf_counter() - started)
    # The first round warms up.
    return {name: statistics.median(found[1:]) for name, found in seconds.items()}


def _median_of_one(run: Work, rows: Iterator[Any]) -> float:
    seconds = []
    for _ in range(EXPLAINED):
        row = next(rows)
        started = time.perf_counter()
        run(row)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


if __name__ == "__main__":
    sys.exit(main())
