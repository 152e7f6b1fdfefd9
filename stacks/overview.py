"""Every stack that has a file: its components, and how each of them is."""

import subprocess
import sys

from stacks.environment import ROOT
from stacks.stack_files import stack_names

STACKS = ROOT / "configs" / "stacks"


def main() -> int:
    """Print the check of each stack. One that is not ready is no error: not everybody has every stack.

    Each is checked by a process of its own, as a process has one ZenML server.
    """
    command = [sys.executable, str(ROOT / "run.py"), "--check", "--stack"]
    running = {
        name: subprocess.Popen([*command, name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for name in stack_names(STACKS)
    }
    for name, process in running.items():
        out, _ = process.communicate()
        print(f"{name}: {'ready' if process.returncode == 0 else 'not ready'}\n{out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
