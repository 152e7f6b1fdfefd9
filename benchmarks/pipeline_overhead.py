"""What the framework costs: the whole command against the same work as one plain script.

    python benchmarks/pipeline_overhead.py [ROUNDS]

Runs, in turn and in processes of their own, on the California table: plain_training.py; the training
command with every step executed; the same command again, fully cached; the bare imports of ZenML with its
store, MLflow and pandas, which no cached run can do without. Then a pipeline of empty steps.
Prints seconds and ratios; machines are noisy, so trust the ratios and the medians.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
DATA = ROOT.parent / "shared" / "data" / "california_housing.csv"
EMPTY_STEPS = 20
FOLDS = (5, 20)  # The default, and work of over 30 s.
sys.path.insert(0, str(ROOT))


def main(rounds: int) -> int:
    if not DATA.is_file():
        print(f"skipped: needs the California table at {DATA}")
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["MILLRACE_HOME"] = str(Path(scratch) / "state")
        # For both sides: without it a busy machine slows LightGBM's threads a hundredfold.
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        plots = Path(scratch) / "plots"
        plots.mkdir()
        plain = [sys.executable, str(ROOT / "benchmarks" / "plain_training.py"), str(DATA), str(plots)]
        command = [sys.executable, str(ROOT / "run.py"), "--pipeline", "training"]
        # The same columns and ranges as california_housing, without its transforms: none has the script.
        ours = [*command, "--problem", "housing_sample", "--data", str(DATA), "--set", "blend=false"]
        bare = [sys.executable, "-c", "import zenml.zen_stores.sql_zen_store, mlflow, pandas"]
        first = _seconds([*command, "--problem", "iris"])
        print(f"first start of all, on iris, with the stores' set-up: {first:.1f} s (once per checkout)")
        for folds in FOLDS:
            same = [*ours, "--set", f"folds={folds}"]
            commands = ([*plain, str(folds)], [*same, "--no-cache"], same, bare)
            _seconds(commands[0])
            print(f"\n{folds} folds")
            _print_table([tuple(map(_seconds, commands)) for _ in range(rounds)])
        print(subprocess.run([sys.executable, __file__, "steps"], capture_output=True, text=True).stdout)
    return 0


def _print_table(times: list[tuple[float, ...]]) -> None:
    titles = ("plain s", "command s", "ratio", "above s", "cached s", "imports s", "ratio")
    print("  round" + "".join(f"{title:>11}" for title in titles))
    rows = [(p, o, o / p, o - p, c, b, c / b) for p, o, c, b in times]
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    for name, row in [*enumerate(rows, 1), ("median", medians)]:
        print(f"{name:>7}" + "".join(f"{value:>11.2f}" for value in row))
    print()


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - started


def measure_steps() -> None:
    """Time a pipeline of empty steps on the local stack, uncached, after one to warm up."""
    from stacks import environment

    environment.prepare()
    from stacks.stack_files import load_stack_file
    from stacks.start import open_stack

    open_stack(load_stack_file("local", ROOT / "configs" / "stacks"))
    from benchmarks.empty_steps import chain

    chain(length=2)
    started = time.perf_counter()
    chain(length=EMPTY_STEPS)
    each = (time.perf_counter() - started) / EMPTY_STEPS
    print(f"an empty step on the local stack: {each * 1000:.0f} ms ({EMPTY_STEPS} in a row)")


if __name__ == "__main__":
    if sys.argv[1:] == ["steps"]:
        measure_steps()
    else:
        sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
