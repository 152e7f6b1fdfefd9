"""What staging costs: the training command on the stack `local` and on a staging of its own, by turns.

    python benchmarks/stacks.py [ROUNDS]

Starts the servers of `make staging` on free ports in a folder that is deleted afterwards. Every step is
executed. Prints seconds, ratio and difference, what S3 was asked and sent in a run by the gateway's own
access log, and keys that were written more than once; then the seconds of `--stack staging --check`.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROBLEMS = ("housing_sample", "iris")
# A line of the gateway's log: method, path, status, bytes of the body that went either way.
ACCESS = re.compile(r'"(GET|HEAD|PUT|POST|DELETE) (\S+) HTTP/1\.1" (\d+) (\d+)')
sys.path.insert(0, str(ROOT))


def main(rounds: int) -> int:
    from tests.deploy.running import running_staging

    with tempfile.TemporaryDirectory() as scratch, running_staging() as staging:
        os.environ |= {**staging.environment, "MILLRACE_HOME": scratch, "OMP_WAIT_POLICY": "PASSIVE"}
        log = staging.home / "staging" / "logs" / "s3.log"
        for problem in PROBLEMS:
            # The first runs set the stores up.
            for stack in ("local", "staging"):
                _train(problem, stack)
            print(f"\n{problem:<16}{'local s':>10}{'staging s':>11}{'ratio':>8}{'more s':>8}", flush=True)
            times = []
            for number in range(rounds):
                local, read = _train(problem, "local"), log.stat().st_size
                times.append((local, _train(problem, "staging")))
                _print_row(f"round {number + 1}", *times[-1])
            _print_row("median", *(statistics.median(column) for column in zip(*times, strict=True)))
            _print_requests(log.read_bytes()[read:].decode(errors="replace"))
        checks = [_seconds("--stack", "staging", "--check") for _ in range(rounds)]
        print(f"\n--stack staging --check: {', '.join(f'{seconds:.1f} s' for seconds in checks)}")
    return 0


def _train(problem: str, stack: str) -> float:
    return _seconds("--pipeline", "training", "--problem", problem, "--stack", stack, "--no-cache")


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


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
