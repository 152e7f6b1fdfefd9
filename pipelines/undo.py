"""Take a promotion back, if it has changed the champion.

    python -m pipelines.undo SUMMARY.json

from the promotion's summary. A promotion of what was champion already has changed nothing, and the roll-back
of the stack would then go one champion too far.
"""

import subprocess
import sys
from pathlib import Path

from pydantic import ValidationError

from pipelines.promotion_summary import PromotionSummary
from stacks.environment import ROOT


def main(path: str) -> int:
    """Undo the promotion whose summary is in `path`; returns the roll-back's exit code, 0 if none is due."""
    try:
        done = PromotionSummary.model_validate_json(Path(path).read_bytes())
    except (OSError, ValidationError) as error:
        print(f"error: {path}: is no summary of a promotion: {error}", file=sys.stderr)
        return 2
    if done.champion_before in (None, done.version):
        why = "has no champion before it" if done.champion_before is None else "was champion before"
        print(f"Version {done.version} on {done.target} {why}: it stays.")
        return 0
    command = ["run.py", "--pipeline", "promotion", "--problem", done.problem, "--to", done.target]
    return subprocess.run([sys.executable, *command, "--roll-back"], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
