"""What it takes to train on a table that should not be in memory: seconds, peak memory, and what is learnt.

    python benchmarks/training_scale.py [ROWS ...] [--trees N] [--only NAME ...]

ROWS are 1,000,000 and 10,000,000, unless said otherwise: generated housing blocks, in Parquet files of a
million rows each; 50 trees of 31 leaves. A row in five is held out.

- stored: millrace/large: read, checked, cleaned and encoded to disk, binned, cross-validated in two folds,
  fitted, and scored on the holdout. Its parts are printed below it.
- pipeline: the training command itself, with the same two folds, from its start to a registered, promoted and
  packed model: `run.py --pipeline training --data FOLDER`, in a home of its own.
- plain: pandas.read_parquet, lightgbm.train, predict. No checks, no folds.
- dask: the stored rows, sent to two workers of a cluster of this machine, fitted once by these, and scored
  here. What Dask adds is in the line `fit`, beside that of `stored`; memory is that of the largest process.

Each in a process of its own. Of several sizes draws seconds and memory: docs/images/training_scale.png.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.growth import draw  # noqa: E402
from benchmarks.scoring import BLOCK, children, cores, peak, problem  # noqa: E402
from millrace.models.boosting import LightGBMSettings  # noqa: E402

PICTURE = ROOT / "docs" / "images" / "training_scale.png"
FOLDS, TARGET = 2, "MedHouseVal"
Figures = dict[str, float]


def make_tables(folder: Path, rows: int) -> None:
    """Write generated rows, a file a block."""
    import pyarrow.parquet as pq

    from millrace.sample import housing_sample

    folder.mkdir()
    for number, start in enumerate(range(0, rows, BLOCK)):
        table = housing_sample(min(BLOCK, rows - start), seed=number)
        pq.write_table(table, folder / f"{number:05d}.parquet", compression="zstd")


def settings(trees: int) -> LightGBMSettings:
    """Trees of the usual size, on all columns and rows."""
    return LightGBMSettings(
        n_estimators=trees, learning_rate=0.1, colsample_bytree=1, subsample=1, num_leaves=31
    )


@contextmanager
def timed(figures: Figures, name: str) -> Iterator[None]:
    """Keep the seconds of a part."""
    began = time.perf_counter()
    yield
    figures[name] = time.perf_counter() - began


def stored(tables: Path, folder: Path, trees: int) -> Figures:
    """Millrace's way for large tables."""
    from millrace.large import Bins, store, train
    from millrace.large.training import grow_here
    from millrace.sources.streams import find_parts

    figures: Figures = {}
    with timed(figures, "all"):
        with timed(figures, "store"):
            parts = find_parts(str(tables), folder, problem().columns)
            rows = store(parts, problem(), folder / "stored", 0.05)
        with timed(figures, "bins"):
            Bins.of(rows.training)
        with timed(figures, "folds, fit, score"):
            found = train(rows, settings(trees), folds=FOLDS, seed=0, threads=cores())
    bins = Bins.of(rows.training)
    with timed(figures, "fit"):
        grow_here(bins, cores())(bins.used, settings(trees), 0)
    return figures | {"rmse": found.holdout["rmse"], "folds' rmse": found.validated.metric}


def pipeline(tables: Path, folder: Path, trees: int) -> Figures:
    """The whole command; its first start, which sets up ZenML, is not counted."""
    command = [sys.executable, str(ROOT / "run.py"), "--pipeline", "training", "--problem", problem().name]
    environment = {**os.environ, "MILLRACE_HOME": str(folder)}
    subprocess.run(
        [*command, "--set", "candidates.lightgbm.n_estimators=2"],
        check=True,
        env=environment,
        capture_output=True,
    )
    told = json.dumps(settings(trees).model_dump())
    summary = folder / "summary.json"
    command += ["--data", str(tables), "--set", f"candidates.lightgbm={told}", "--set", f"folds={FOLDS}"]
    figures: Figures = {}
    with timed(figures, "all"):
        subprocess.run(
            # A million rows are too few for it to be of itself what is measured here.
            [*command, "--set", "large.mib=1", "--no-cache", "--summary", str(summary)],
            check=True,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
    found = json.loads(summary.read_text())
    [fitted] = [entry for entry in found["leaderboard"] if entry["candidate"] == "lightgbm"]
    return figures | {"rmse": found["holdout"]["rmse"]["value"], "folds' rmse": fitted["metric"]}


def plain(tables: Path, folder: Path, trees: int) -> Figures:  # noqa: ARG001
    """A script's way."""
    import lightgbm
    import numpy as np
    import pandas as pd

    figures: Figures = {}
    with timed(figures, "all"):
        table = pd.read_parquet(tables)
        # Not a seed of the generated blocks: these numbers would be theirs.
        held = np.random.default_rng(10**9).random(len(table)) < 0.2
        training, holdout = table[~held], table[held]
        told = {"objective": "regression", "num_leaves": 31, "learning_rate": 0.1, "verbosity": -1}
        told |= {"num_threads": cores(), "deterministic": True, "force_row_wise": True}
        data = lightgbm.Dataset(training.drop(columns=TARGET), training[TARGET])
        with timed(figures, "fit"):
            booster = lightgbm.train(told, data, trees)
        predicted = booster.predict(holdout.drop(columns=TARGET))
    return figures | {"rmse": float(np.sqrt(np.mean((holdout[TARGET] - predicted) ** 2)))}


def dask(tables: Path, folder: Path, trees: int) -> Figures:
    """Two workers."""
    from millrace.bundle import FittedModel
    from millrace.large import Bins, on_dask, store, training
    from millrace.sources.streams import find_parts

    figures: Figures = {}
    with timed(figures, "all"):
        parts = find_parts(str(tables), folder, problem().columns)
        rows = store(parts, problem(), folder / "stored", 0.05)
        bins = Bins.of(rows.training)
        with timed(figures, "cluster, rows sent"), on_dask.growing(None, bins) as grow, timed(figures, "fit"):
            model = grow(bins.used, settings(trees), 0)
        found = training.score(FittedModel(problem(), bins.state, model), rows.holdout)
    return figures | {"rmse": found["rmse"]}


CONTENDERS: dict[str, Callable[[Path, Path, int], Figures]] = {
    "stored": stored,
    "pipeline": pipeline,
    "plain": plain,
    "dask": dask,
}


def contend(name: str, tables: Path, trees: int) -> None:
    """Do the work once, in this process, and print its figures; memory in MiB."""
    with tempfile.TemporaryDirectory() as scratch:
        figures = CONTENDERS[name](tables, Path(scratch), trees)
    print(json.dumps({**figures, "peak": max(peak(), children())}))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*", type=int, default=(BLOCK, 10 * BLOCK))
    parser.add_argument("--trees", type=int, default=50)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    asked = parser.parse_args()
    figures: dict[tuple[str, int], Figures] = {}
    with tempfile.TemporaryDirectory() as scratch:
        print(f"{asked.trees} trees, {cores()} processors")
        print(f"{'':<20}{'rows':>12}{'seconds':>9}{'peak MiB':>10}{'holdout RMSE':>14}")
        for rows in asked.rows:
            make_tables(Path(scratch) / str(rows), rows)
            for name in asked.only:
                command = [sys.executable, __file__, "contend", name, f"{scratch}/{rows}", str(asked.trees)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                found = figures[name, rows] = json.loads(done.stdout.splitlines()[-1])
                print(
                    f"{name:<20}{rows:>12,}{found['all']:>9.1f}{found['peak']:>10,.0f}{found['rmse']:>14.5f}"
                )
                for part, value in found.items():
                    if part not in ("all", "peak", "rmse"):
                        print(f"  {part:<30}{value:>9.{5 if 'rmse' in part else 1}f}", flush=True)
    if len(asked.rows) > 1:
        draw(figures, "all", 1.6 * 1024, PICTURE)


if __name__ == "__main__":
    if sys.argv[1:2] == ["contend"]:
        contend(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
