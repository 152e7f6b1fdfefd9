"""Stands for run.py where the scheduler is tested: says how it was called, and ends as it is told to.

In MILLRACE_HOME it writes `calls.jsonl`, and reads `behaviour.json`: the `code` to end with (below zero, a
signal), whether to `hold` until there is a file `released`, to be `deaf` to SIGINT, to `leave` a process
behind, to `print` so many bytes.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

home = Path(os.environ["MILLRACE_HOME"])
behaviour = json.loads((home / "behaviour.json").read_text())
call = {"arguments": sys.argv[1:], "pid": os.getpid(), "environment": dict(os.environ)}
with (home / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps(call) + "\n")
if behaviour.get("deaf"):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
if behaviour.get("leave"):
    subprocess.Popen(["sleep", "1000"], close_fds=False)
try:
    (home / "began").touch()
    print("x" * behaviour.get("print", 0))
    while behaviour.get("hold") and not (home / "released").exists():
        time.sleep(0.02)
except KeyboardInterrupt:
    sys.exit("error: stopped; the same command goes on from the finished steps.")
code = behaviour.get("code", 0)
# Now, for it may be killed before Python does it.
print(f"error: it ends with {code}" if code else "all is well", flush=True)
if code == 0:
    [summary] = (word.partition("=")[2] for word in sys.argv if word.startswith("--summary="))
    Path(summary).write_text(json.dumps({"outcome": "kept", "why": "the champion is better"}))
os._exit(code) if code >= 0 else os.kill(os.getpid(), -code)
