"""What the checks cost on large tables: Great Expectations beside polars, and the whole way to a clean table.

    python benchmarks/quality.py [ROUNDS]    (10, unless said otherwise: four minutes)

On generated tables in California Housing's contract, with cells out of range, nulls, infinities and rows
that are there twice. First the same suites by both engines, on a million rows. Then what the pipeline's
steps call (reading, casting, digest, checks, cleaning, checks again) on ten million rows of Parquet, beside
polars that only scans the file and aggregates its columns. Each time in a process of its own, without the
imports, with every processor; prints seconds, ratios and the peak memory of the process.

As much memory as the largest needs is touched and freed before each: on a virtual machine whose host takes
back free memory, to get it again can take longer than all the work, and would be most of what one measures.
"""

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from millrace import quality  # noqa: E402
from millrace.casting import cast  # noqa: E402
from millrace.cleaning import clean  # noqa: E402
from millrace.contract import load_problem  # noqa: E402
from millrace.digests import table_digest  # noqa: E402
from millrace.sample import housing_sample  # noqa: E402
from millrace.sources import read  # noqa: E402

BLOCK = 1_000_000
ROWS = {"tiny": 1_000, "checks": BLOCK, "whole": 10 * BLOCK}
# Of a thousand rows: cells out of range and cells missing in each column, and rows copied from others.
BAD, MISSING, COPIED = 0.5, 0.5, 1
BAD_ROWS_LIMIT = 0.05
TOUCH = "import numpy; numpy.ones(5 * 2**26)"
PROBLEM = load_problem("california_housing", ROOT / "configs" / "problems")


def make_block(rows: int, seed: int) -> pa.Table:
    """Rows of the synthetic sample with faults in them."""
    rng, sample = np.random.default_rng(seed), housing_sample(rows, seed)

    def few(in_a_thousand: float) -> np.ndarray:
        return rng.integers(0, rows, int(rows * in_a_thousand / 1000))

    source, copy = few(COPIED), few(COPIED)
    columns = {}
    for name in sample.column_names:
        values, missing = sample[name].to_numpy().copy(), np.zeros(rows, dtype=bool)
        values[few(BAD)] = rng.choice([1e6, -1e6, np.inf])
        missing[few(MISSING)] = True
        values[copy], missing[copy] = values[source], missing[source]
        columns[name] = pa.array(values, mask=missing)
    return pa.table(columns)


def make_table(path: Path, rows: int) -> None:
    """Write `rows` rows as Parquet, a row group a block."""
    blocks = (make_block(min(BLOCK, rows - start), start) for start in range(0, rows, BLOCK))
    first = next(blocks)
    with pq.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for block in blocks:
            writer.write_table(block)


def scan(path: Path) -> None:
    """What polars does at least: read every value once."""
    import polars as pl

    every, kinds = pl.all(), ("mean", "min", "max", "null_count")
    aggregates = [getattr(every, kind)().name.suffix(f"_{kind}") for kind in kinds]
    with part("scan and aggregate"):
        pl.scan_parquet(path).select(*aggregates).collect()


def whole(path: Path) -> None:
    """From the file to a clean table, as the steps ingest, check_bronze, clean and check_silver do."""
    with part("read"):
        raw = read(str(path), path.parent)
    with part("cast"):
        bronze = cast(raw.table, PROBLEM, raw.origin)
    del raw
    with part("digest"):
        table_digest(bronze)
    with part("check bronze"):
        suite = quality.bronze_suite(PROBLEM, 10, BAD_ROWS_LIMIT)
        quality.run_suite(bronze, suite, "bronze", "polars")
    with part("clean"):
        silver = clean(bronze, PROBLEM, BAD_ROWS_LIMIT).silver
    with part("check silver"):
        quality.run_suite(silver, quality.silver_suite(PROBLEM), "silver", "polars")


def checks(engine: quality.Engine) -> Callable[[Path], None]:
    """Both suites by one engine, on the table as it came in: with something to find."""

    def run(path: Path) -> None:
        bronze = cast(read(str(path), path.parent).table, PROBLEM, "table")
        with part("bronze suite"):
            quality.run_suite(bronze, quality.bronze_suite(PROBLEM, 10, BAD_ROWS_LIMIT), "bronze", engine)
        silver = bronze[list(PROBLEM.columns)]
        with part("silver suite"):
            quality.run_suite(silver, quality.silver_suite(PROBLEM), "silver", engine)

    return run


CONTENDERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "polars": ("checks", checks("polars")),
    "Great Expectations": ("checks", checks("Great Expectations")),
    "polars scan": ("whole", scan),
    "Millrace": ("whole", whole),
}
seconds: dict[str, float] = {}


@contextmanager
def part(name: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - started


def contend(name: str, folder: Path) -> None:
    """Run one contender in this process, after a tiny table to warm up, and print what it took."""
    table, run = CONTENDERS[name]
    run(folder / "tiny.parquet")
    subprocess.run([sys.executable, "-c", TOUCH], check=True)
    run(folder / f"{table}.parquet")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(*(f"{name}={took}" for name, took in {**seconds, "peak": peak}.items()), sep=";")


def measure(name: str, folder: Path) -> dict[str, float]:
    """Each figure of a contender in a process of its own; `all` is the sum of the seconds."""
    command = [sys.executable, __file__, "contend", name, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = {part: float(took) for part, _, took in (f.partition("=") for f in done.stdout.split(";"))}
    return {**found, "all": sum(found.values()) - found["peak"]}


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, rows in ROWS.items():
            make_table(folder / f"{name}.parquet", rows)
        # In turns: a machine's good and bad minutes are then everyone's.
        runs = [{name: measure(name, folder) for name in CONTENDERS} for _ in range(rounds)]
    # What else the machine does can only add to a time, so the least is the nearest to what the work takes.
    figures = {name: min((run[name] for run in runs), key=lambda run: run["all"]) for name in CONTENDERS}
    for table, what in (("checks", "the same checks"), ("whole", "to a clean table")):
        names = [name for name in CONTENDERS if CONTENDERS[name][0] == table]
        least = figures[names[0]]["all"]
        size = f"{ROWS[table]:,} rows x {len(PROBLEM.columns)} columns"
        print(f"\n{what}, {size}, quickest of {rounds}\n{'':<30}{'seconds':>9}{'ratio':>9}{'peak MB':>9}")
        for name in names:
            found = figures[name]
            print(f"{name:<30}{found['all']:>9.2f}{found['all'] / least:>9.2f}{found['peak']:>9.0f}")
            parts = [key for key in found if key not in ("all", "peak")]
            for key in parts if len(parts) > 1 else []:
                print(f"  {key:<28}{found[key]:>9.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["contend"]:
        contend(sys.argv[2], Path(sys.argv[3]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
