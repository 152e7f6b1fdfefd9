"""A summary's values as outputs of a step.

python3 -m deploy.workflows.outputs SUMMARY.json NAME... >>"$GITHUB_OUTPUT"
"""

import json
import sys
from pathlib import Path


def main(path: str, *names: str) -> int:
    """Print the values of these names, a line each; returns the exit code."""
    told = json.loads(Path(path).read_text(encoding="utf-8"))
    for name in names:
        # A second line would be an output of its own.
        print(f"{name}={' '.join(str(told[name]).split())}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
