"""Predictions for a whole table: rows a second and peak memory of a batch job, beside what else one would do.

    python benchmarks/scoring.py [ROWS ...] [--rounds N] [--trees N] [--only NAME ...]

ROWS are 1,000,000, 10,000,000 and 50,000,000, unless said otherwise: generated housing blocks, in Parquet
files of a million rows each. The model is LightGBM's, of other such rows: 300 trees of 31 leaves, unless said
otherwise. Beside the job, with compiled trees, and up to 10 M rows with LightGBM's:

- memory: `Booster.predict` with all threads on an array that is there already. No reading, no checks, no
  writing: the limit of whoever asks LightGBM. Up to 10 M rows.
- pandas: the files read by pandas, `mlflow.pyfunc.load_model(...).predict`, the table with its predictions
  written; up to 10 M rows.
- mlflow: `mlflow models predict`, from one CSV file to JSON, with its start; up to a million rows.

Each time in a process of its own, in turns; its seconds are without imports, but with the job's own start:
the model loaded, trees compiled and proved. Of several rounds the quickest counts: what else the machine does
only adds. Prints a table; of several sizes draws seconds and memory against rows, docs/images/scoring.png.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.growth import draw  # noqa: E402

# Before anything loads OpenMP; see stacks/environment.py.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

BLOCK, TRAINING = 1_000_000, 200_000
SIZES = (BLOCK, 10 * BLOCK, 50 * BLOCK)
PICTURE = ROOT / "docs" / "images" / "scoring.png"
# Up to which size there is the memory, or the patience: a line through two sizes is straight.
MOST = {"memory": 10 * BLOCK, "job": 10 * BLOCK, "pandas": 10 * BLOCK, "mlflow": BLOCK}


def make_tables(folder: Path, rows: int) -> None:
    """Write generated rows without their target, a file a block."""
    import pyarrow.parquet as pq

    from millrace.sample import housing_sample

    folder.mkdir()
    for number, start in enumerate(range(0, rows, BLOCK)):
        table = housing_sample(min(BLOCK, rows - start), seed=number).drop_columns("MedHouseVal")
        pq.write_table(table, folder / f"{number:05d}.parquet", compression="zstd")


def make_model(folder: Path, trees: int) -> None:
    """Train on other rows of the same kind; keep a bundle, and a model of MLflow's of it."""
    import mlflow

    from millrace import pyfunc
    from millrace.bundle import PROVENANCE, REFERENCE, FittedModel, seal, write_json
    from millrace.casting import cast
    from millrace.models import TrainingRows, fit_model
    from millrace.models.boosting import LightGBMSettings
    from millrace.sample import housing_sample

    table = cast(housing_sample(TRAINING, seed=1_000_000), problem(), "sample")
    rows = TrainingRows.of(table, problem())
    settings = LightGBMSettings(
        n_estimators=trees, learning_rate=0.1, num_leaves=31, colsample_bytree=1, subsample=1
    )
    bundle = folder / "bundle"
    bundle.mkdir(parents=True)
    FittedModel(problem(), rows.state, fit_model(settings, rows, seed=0, threads=cores())).save(bundle)
    table.head(2_000).to_parquet(bundle / REFERENCE)
    write_json(bundle / PROVENANCE, {})
    seal(bundle)
    mlflow.pyfunc.save_model(
        folder / "mlflow",
        loader_module="millrace.pyfunc",
        data_path=str(bundle),
        code_paths=[str(pyfunc.pack_code(folder))],
        signature=pyfunc.signature(problem()),
        input_example=pyfunc.input_example(table, problem()),
        pip_requirements=[],
    )


def problem() -> Any:
    """The contract of generated housing blocks."""
    from millrace.contract import load_problem

    return load_problem("housing_sample", ROOT / "configs" / "problems")


def cores() -> int:
    """How many processors there are for everybody."""
    return len(os.sched_getaffinity(0))


def job(folder: Path, tables: Path, trees: str) -> Callable[[], object]:
    """The inference pipeline's work, but for ZenML and the prediction log."""
    import lightgbm  # noqa: F401

    from millrace.batch import BatchSettings, Job, Output, run_job
    from millrace.bundle import load_bundle
    from millrace.prediction_log import ModelName
    from millrace.sources.streams import find_parts

    def run() -> None:
        bundle = load_bundle(folder / "bundle")
        parts = find_parts(str(tables), folder, bundle.problem.features, every=True)
        settings = BatchSettings(trees=trees)
        model = ModelName("housing_sample", "1", bundle.digest)
        with tempfile.TemporaryDirectory(dir=folder) as out:
            manifest = run_job(
                Job(str(tables), parts, bundle, model, settings), Output(f"{out}/out"), "run", False
            )
            assert not manifest.rows.quarantined

    return run


def in_memory(folder: Path, tables: Path) -> Callable[[], object]:
    """LightGBM alone."""
    import lightgbm
    import numpy as np
    import pyarrow.dataset as ds

    booster = lightgbm.Booster(model_file=folder / "bundle" / "model.txt")
    dataset = ds.dataset(tables)
    rows = np.empty((dataset.count_rows(), len(dataset.schema.names)))
    start = 0
    for batch in dataset.to_batches():
        for position, column in enumerate(batch.columns):
            rows[start : start + len(batch), position] = column
        start += len(batch)
    return lambda: booster.predict(rows, num_threads=cores())


def pandas_and_pyfunc(folder: Path, tables: Path) -> Callable[[], object]:
    """What one would write."""
    import lightgbm  # noqa: F401
    import mlflow
    import pandas as pd

    def run() -> None:
        model = mlflow.pyfunc.load_model(folder / "mlflow")
        table = pd.read_parquet(tables)
        table["prediction"] = model.predict(table)
        table.to_parquet(folder / "scores.parquet")

    return run


def mlflow_predict(folder: Path, tables: Path) -> Callable[[], object]:
    """MLflow's command for batches, without Spark."""
    import pandas as pd

    # Arrow would write 41.0 as 41, which the signature then refuses as an integer.
    pd.read_parquet(tables).to_csv(folder / "rows.csv", index=False)
    command = [sys.executable, "-m", "mlflow", "models", "predict", "--env-manager", "local", "-t", "csv"]
    command += ["-m", f"{folder}/mlflow", "-i", f"{folder}/rows.csv", "-o", f"{folder}/scores.json"]
    return lambda: subprocess.run(command, check=True, capture_output=True)


CONTENDERS: dict[str, Callable[[Path, Path], Callable[[], object]]] = {
    "memory": in_memory,
    "job": lambda folder, tables: job(folder, tables, "lightgbm"),
    "job, compiled": lambda folder, tables: job(folder, tables, "compiled"),
    "pandas": pandas_and_pyfunc,
    "mlflow": mlflow_predict,
}


def contend(name: str, folder: Path, tables: Path) -> None:
    """Do the work once, in this process; print its seconds and the most memory it had, in MiB."""
    run = CONTENDERS[name](folder, tables)
    began, busy = time.perf_counter(), processor_seconds()
    run()
    seconds, busy = time.perf_counter() - began, processor_seconds() - busy
    print(json.dumps({"seconds": seconds, "busy": busy, "peak": max(peak(), children())}))


def processor_seconds() -> float:
    """What this process and its children took of the processors: less a matter of what else they do."""
    return sum(os.times()[:4])


def peak() -> float:
    """The most memory that this process had, in MiB: not `ru_maxrss`, which begins with the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def children() -> float:
    """The most that one of its children had."""
    import resource

    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def measure(name: str, folder: Path, tables: Path) -> dict[str, float]:
    """`contend` in a process of its own."""
    command = [sys.executable, str(Path(__file__)), "contend", name, str(folder), str(tables)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*", type=int, default=SIZES)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--trees", type=int, default=300)
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    asked = parser.parse_args()
    figures: dict[tuple[str, int], dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_model(folder, asked.trees)
        print(f"{asked.trees} trees, {cores()} processors, the quickest of {asked.rounds}")
        print(
            f"{'':<16}{'rows':>12}{'seconds':>9}{'rows/s':>11}{'x memory':>10}{'busy s':>9}{'x memory':>10}"
            f"{'peak MiB':>10}"
        )
        for rows in asked.rows:
            make_tables(folder / str(rows), rows)
            names = [name for name in asked.only if rows <= MOST.get(name, rows)]
            rounds = [
                {name: measure(name, folder, folder / str(rows)) for name in names}
                for _ in range(asked.rounds)
            ]
            for name in names:
                found = min((run[name] for run in rounds), key=lambda run: run["seconds"])
                figures[name, rows] = found
                limit = figures.get(("memory", rows), {"seconds": float("nan"), "busy": float("nan")})
                print(
                    f"{name:<16}{rows:>12,}{found['seconds']:>9.1f}{rows / found['seconds']:>11,.0f}"
                    f"{limit['seconds'] / found['seconds']:>10.2f}{found['busy']:>9.1f}"
                    f"{limit['busy'] / found['busy']:>10.2f}{found['peak']:>10,.0f}",
                    flush=True,
                )
    if len(asked.rows) > 1:
        draw(figures, "seconds", 1024, PICTURE)


if __name__ == "__main__":
    if sys.argv[1:2] == ["contend"]:
        contend(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    else:
        main()
