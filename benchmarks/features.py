"""The feature transforms of California Housing on a million rows: seconds and microseconds a row.

    .venv/bin/python benchmarks/features.py [ROWS]

The rows are made by the sample's generator. The state is learnt from 16,512 of them, as many as the real
table's training rows. Then: all rows at once, and one row at a time as a service reads them.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
TRAINING_ROWS = 16_512
SINGLE_ROWS = 2_000


def main(rows: int) -> None:
    """Print the table."""
    from millrace.contract import load_problem
    from millrace.models import TrainingRows
    from millrace.sample import housing_sample

    problem = load_problem("california_housing", ROOT / "configs" / "problems")
    table = housing_sample(rows).to_pandas()
    training = table.iloc[:TRAINING_ROWS]
    fitted = TrainingRows.of(training, problem)
    fit = _seconds(lambda: TrainingRows.of(training, problem))
    whole = _seconds(lambda: fitted.state.transform(table))
    singles = [
        {name: [value] for name, value in row.items()} for row in table.head(SINGLE_ROWS).to_dict("records")
    ]
    single = _seconds(lambda: [fitted.state.transform(row) for row in singles])
    print(f"{len(fitted.state.names)} columns from {len(problem.inputs)}; learnt from {TRAINING_ROWS:,} rows")
    print(f"learning, out-of-fold           {fit:7.2f} s")
    print(f"{rows:>9,} rows at once          {whole:7.2f} s  {1e6 * whole / rows:8.1f} us a row")
    print(
        f"{SINGLE_ROWS:>9,} rows, one at a time  {single:7.2f} s  {1e6 * single / SINGLE_ROWS:8.1f} us a row"
    )


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
