"""python -m tests.targets.pod FOLDER: services of a bundle as processes, forked from this one.

It has imported what they need. Each line of its input begins one: PORT WHAT METRICS LOG, the last two paths;
its number is printed.

WHAT is `good`; `failing`, whose predictions fail; or `broken`, which ends with a sentence.
"""

import os
import signal
import sys
from pathlib import Path

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
# Before anything imports prometheus_client; each process then has a folder of its own.
os.environ[FOLDER] = "/nowhere"

import uvicorn  # noqa: E402

from bentos.records import Records  # noqa: E402
from bentos.routes import PATHS  # noqa: E402
from millrace.bundle import load_bundle  # noqa: E402
from millrace.service_metrics import ServiceMetrics  # noqa: E402
from tests.bentos.serving import Stub, application, with_model  # noqa: E402


def main() -> None:
    """Fork until the input ends."""
    bundle = Path(sys.argv[1])
    # What is imported where it is used, is now imported.
    application(load_bundle(bundle))
    # Nobody waits for what has ended.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        port, what, metrics, log = line.split()
        number = os.fork()
        if not number:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.environ[FOLDER] = metrics
            file = os.open(log, os.O_WRONLY | os.O_CREAT)
            for stream in (1, 2):
                os.dup2(file, stream)
            try:
                serve(bundle, int(port), what)
            finally:
                sys.stderr.flush()
                os._exit(0)
        print(number, flush=True)


def serve(folder: Path, port: int, what: str) -> None:
    """Answer until a signal says to stop."""
    if what == "broken":
        print("error: this bundle is damaged.", file=sys.stderr)
        return
    bundle = load_bundle(folder)
    if what == "failing":
        bundle = with_model(bundle, Stub(RuntimeError("no prediction today")))
    app = application(bundle)
    app.keep(Records(ServiceMetrics(PATHS), None))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
