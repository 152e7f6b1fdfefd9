"""The loop, played through by the command that people rehearse with: all servers and programs are real."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import psutil

from deploy.rehearsal.__main__ import STORY
from tests.conftest import ROOT, VARIABLES


def test_drift_ends_in_another_model_that_errs_less(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-m", "deploy.rehearsal"],
        cwd=ROOT,
        env={**environment, "MILLRACE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    happened = re.findall(r"^\d\d:\d\d:\d\d ([a-z ]+): ", done.stdout, re.MULTILINE)
    assert sorted(happened) == sorted(STORY)
    retrained = next(line for line in done.stdout.splitlines() if " retraining ends: " in line)
    assert "promoted: rmse" in retrained
    assert "service swapped: version 2 answers" in done.stdout
    assert (tmp_path / "rehearsal" / "timeline.png").read_bytes().startswith(b"\x89PNG")
    jobs = (tmp_path / "rehearsal" / "scheduler" / "logs").glob("*-alert.json")
    outcomes = [json.loads(path.read_text())["outcome"] for path in jobs]
    assert outcomes.count("promoted") == 1
    commands = (" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
    assert not [command for command in commands if str(tmp_path) in command]
