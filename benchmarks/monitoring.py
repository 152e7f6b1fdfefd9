"""A million logged rows, judged: seconds and peak memory of the whole command, beside Evidently on all rows.

    .venv/bin/python benchmarks/monitoring.py [ROWS]

The embedded sample's champion has answered the rows, a request each, and half of their outcomes are known.
Ours is `run.py --pipeline monitoring`, with and without Evidently's reports of 5,000 of the rows. Evidently's
drift preset reads the same rows from the log at once, and has no outcomes to join.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
ROWS = 1_000_000
BATCH = 20_000
PROBLEM = "housing_sample"
COMMAND = (sys.executable, "run.py", "--problem", PROBLEM)
# The whole log, as a table, to Evidently's own preset.
EVIDENTLY = """
import sys
import pandas as pd
from pathlib import Path
from evidently import Dataset, DataDefinition, Report, presets
from millrace.contract import load_problem
from millrace.prediction_log import read_log
uri, reference = sys.argv[1:]
problem = load_problem("housing_sample", Path("configs/problems"))
columns = [*problem.inputs, "_prediction"]
now = pd.concat([part[columns] for part in read_log(uri, problem)], ignore_index=True)
definition = DataDefinition(numerical_columns=columns)
tables = [Dataset.from_pandas(each, definition) for each in (now, pd.read_parquet(reference)[columns])]
Report([presets.DataDriftPreset()]).run(*tables).get_html_str(as_iframe=False)
"""


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="?", type=int, default=ROWS)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "MILLRACE_HOME": folder, "DO_NOT_TRACK": "1"}
        measure([*COMMAND, "--pipeline", "training"], environment)
        uri = f"sqlite:///{folder}/log.db"
        fill(uri, rows, Path(folder))
        reference = next(Path(folder).rglob("reference.parquet"))
        watch = [*COMMAND, "--pipeline", "monitoring", f"--set=log={uri}"]
        contenders = {
            "Millrace": watch,
            "Millrace, no reports": [*watch, "--set=report_rows=0"],
            "Evidently, all rows": [sys.executable, "-c", EVIDENTLY, uri, str(reference)],
        }
        print(f"{rows:,} rows{'seconds':>24}{'x':>8}{'peak MiB':>10}{'x':>8}")
        first = None
        for name, command in contenders.items():
            seconds, peak = measure(command, environment)
            first = first or (seconds, peak)
            print(
                f"{name:<24}{seconds:>14.1f}{seconds / first[0]:>8.2f}{peak:>10,.0f}{peak / first[1]:>8.2f}"
            )


def measure(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds of a command, and the peak memory of its largest process in MiB."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(said.decode())
    return time.perf_counter() - began, usage.ru_maxrss / 1024


def fill(uri: str, rows: int, home: Path) -> None:
    """Log rows that the champion has answered, and every other one's outcome."""
    import msgspec

    from millrace.bundle import load_bundle
    from millrace.prediction_log import Entry, LogSettings, ModelName, Outcome, Outcomes
    from millrace.prediction_log.stores import open_store
    from millrace.requests import RequestReader, write
    from millrace.sample import housing_sample
    from millrace.scoring import Scorer

    folder = next(path.parent for path in home.rglob("manifest.json"))
    bundle = load_bundle(folder)
    reader, scorer = RequestReader(bundle.problem), Scorer(bundle.fitted)
    model, store = ModelName(PROBLEM, "1", bundle.digest), open_store(LogSettings(uri=uri), bundle.problem)
    began = time.time() - 3600
    for start in range(0, rows, BATCH):
        table = housing_sample(min(BATCH, rows - start), seed=start).to_pandas()
        sent: list[dict[str, Any]] = table[list(bundle.problem.inputs)].to_dict("records")
        entries, known = [], []
        for number, row in enumerate(sent, start):
            question = reader.read(msgspec.json.encode({"rows": [row]}))
            answers = msgspec.json.encode(write(bundle.fitted, scorer.predict(question.matrix), None))
            moment = began + 3000 * number / rows
            entries.append(Entry(moment, f"{number:032x}", "champion", model, 0.001, question, answers))
            if number % 2:
                actual = float(table[bundle.problem.target.name].iloc[number - start])
                known.append(Outcome(actual, f"{number:032x}"))
        store.write(entries)
        store.write_outcomes([Outcomes(began + 3500, known)])
    store.close()


if __name__ == "__main__":
    main()
