"""What staging costs: the training command on the stack `local` and on a staging of its own, by turns.

    python benchmarks/stacks.py [--rounds N] [PROBLEM | PROBLEM=TABLE ...]

Starts the servers of `make staging` on free ports in a folder that is deleted afterwards. Every step is
executed, and each round has a seed of its own, so that each registers a version. Prints seconds, ratio and
difference; what S3 was asked and sent in a run by the gateway's own access log; keys that were written more
than once, and objects of the run that are copies of others; then the seconds of `--stack staging --check`.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploy.staging.settings import Settings

ROOT = Path(__file__).parent.parent
PROBLEMS = ("housing_sample", "iris")
# A line of the gateway's log: method, path, status, bytes of the body that went either way.
ACCESS = re.compile(r'"(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP/1\.1" (\d+) (\d+)')
sys.path.insert(0, str(ROOT))


def main() -> int:
    from tests.deploy.running import running_staging

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("problems", nargs="*", default=PROBLEMS, metavar="PROBLEM[=TABLE]")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, running_staging() as staging:
        os.environ |= {**staging.environment, "OMP_WAIT_POLICY": "PASSIVE"}

        def train(problem: str, stack: str, seed: int) -> float:
            # A home each: the Bento that one has built, the other would find.
            os.environ["MILLRACE_HOME"] = f"{scratch}/{stack}"
            return _train(problem, stack, seed)

        log = staging.home / "staging" / "logs" / "s3.log"
        for problem in arguments.problems:
            # The first runs set the stores up.
            for stack in ("local", "staging"):
                train(problem, stack, 0)
            print(f"\n{problem:<16}{'local s':>10}{'staging s':>11}{'ratio':>8}{'more s':>8}", flush=True)
            times = []
            for number in range(1, arguments.rounds + 1):
                local, read, began = train(problem, "local", number), log.stat().st_size, datetime.now(UTC)
                times.append((local, train(problem, "staging", number)))
                _print_row(f"round {number}", *times[-1])
            _print_row("median", *(statistics.median(column) for column in zip(*times, strict=True)))
            _print_requests(log.read_bytes()[read:].decode(errors="replace"))
            _print_copies(staging.settings, began)
        checks = [_seconds("--stack", "staging", "--check") for _ in range(arguments.rounds)]
        print(f"\n--stack staging --check: {', '.join(f'{seconds:.1f} s' for seconds in checks)}")
    return 0


def _train(problem: str, stack: str, seed: int) -> float:
    name, _, table = problem.partition("=")
    data = ["--data", table] if table else []
    what = ("--pipeline", "training", "--problem", name, *data, f"--set=seed={seed}")
    return _seconds(*what, "--stack", stack, "--no-cache")


def _seconds(*arguments: str) -> float:
    started = time.perf_counter()
    command = [sys.executable, str(ROOT / "run.py"), *arguments]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - started


def _print_row(name: str, local: float, staging: float) -> None:
    print(
        f"{name:<16}{local:>10.1f}{staging:>11.1f}{staging / local:>8.2f}{staging - local:>8.1f}", flush=True
    )


def _print_requests(log: str) -> None:
    """What one run asked of S3, whoever asked: ZenML's client, or MLflow's server for it."""
    requests = [
        (method, path, int(size)) for method, path, status, size in ACCESS.findall(log) if int(status) < 400
    ]
    methods = Counter(method for method, _, _ in requests)
    written = Counter(path for method, path, _ in requests if method == "PUT")
    sent, received = (
        sum(size for method, _, size in requests if method in which) for which in (("PUT", "POST"), ("GET",))
    )
    print(
        f"  S3, one run: {sum(methods.values())} requests "
        f"({', '.join(f'{count} {method}' for method, count in methods.most_common())}), "
        f"{sent / 1e6:.1f} MB written, {received / 1e6:.1f} MB read"
    )
    again = [f"{path} ({count} times)" for path, count in written.items() if count > 1]
    print(f"  written more than once: {', '.join(again) or 'nothing'}", flush=True)


def _print_copies(settings: "Settings", since: datetime) -> None:
    """Objects of one run that hold the same bytes: in ZenML's store and in MLflow's, or in two artifacts."""
    from deploy.staging.object_store import client
    from deploy.staging.settings import BUCKET

    pages = client(settings).get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    new = [found for page in pages for found in page["Contents"] if found["LastModified"] >= since]
    first = {(found["ETag"], found["Size"]): found["Key"] for found in reversed(new)}
    copies = [found for found in new if first[found["ETag"], found["Size"]] != found["Key"]]
    size = sum(found["Size"] for found in copies)
    print(f"  objects: {len(new)}, of which {len(copies)} with {size / 1e6:.1f} MB are copies of others")
    twice = Counter((_folder(first[each["ETag"], each["Size"]]), _folder(each["Key"])) for each in copies)
    for (one, other), count in twice.most_common():
        print(f"    {count} of {one} in {other}", flush=True)


def _folder(key: str) -> str:
    """The part of a key that names the artifact: ZenML's step and output, or MLflow's experiment."""
    store, *parts = key.split("/")
    return "/".join([store, *parts[: 2 if store == "zenml" else 1]])


if __name__ == "__main__":
    sys.exit(main())
