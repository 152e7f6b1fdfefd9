"""Workflows run on this machine by act, without Docker: every step is a process here.

What others wrote (`uses:`) is replaced by a stand-in that does nothing, but for artifacts, which go by a
folder; commands by ones that note what they are told. Conditions, variables, secrets and the shell are real.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
ACT = ROOT / ".venv" / "tools" / "bin" / "act"
# What the jobs that install nothing run.
PLAIN = ("choice", "github", "outputs", "reached", "variables")
USES = re.compile(r"uses: (([\w.-]+/[\w.-]+)@[0-9a-f]{40})")
COMMAND = """#!/bin/bash
# Notes its words and variables, makes the files that it would leave, and ends as it is told.
name=$(basename "$0")
printf '%s\\n' "$name $*" >>"{folder}/commands"
env >"{folder}/environment of $name $1"
cp -r "{folder}/left by $name $1/." . 2>/dev/null
cat "{folder}/said by $name $1" 2>/dev/null
exit "$(cat "{folder}/ends $name $1" 2>/dev/null || echo 0)"
"""
STAND_INS = {
    # Where no ref is named, act checks out by itself.
    "actions/checkout": 'git -C "{repository}" archive "$REF" | tar -x',
    "actions/upload-artifact": """
        mkdir -p "{artifacts}/$NAME"
        while read -r path; do [ ! -e "$path" ] || cp "$path" "{artifacts}/$NAME/"; done <<<"$FILES"
    """,
    "actions/download-artifact": 'mkdir -p "$FILES"; cp -r "{artifacts}/." "$FILES/"',
}


class House:
    """A repository with this project's workflows, and what is noted of their runs."""

    def __init__(self, folder: Path) -> None:
        self.notes = folder / "notes"
        self.artifacts = folder / "artifacts"
        self._repository = folder / "repository"
        self._programs = self._repository / "deploy" / "workflows"
        self._home = folder / "home"
        for path in (self.notes, self.artifacts, self._programs, self._home, folder / "bin"):
            path.mkdir(parents=True)
        shutil.copytree(ROOT / ".github", self._repository / ".github")
        shutil.copytree(ROOT / "configs" / "problems", self._repository / "configs" / "problems")
        for name in ("__init__", *PLAIN):
            shutil.copy(ROOT / "deploy" / "workflows" / f"{name}.py", self._programs)
        # Asked once more at once.
        reached = self._programs / "reached.py"
        reached.write_text(reached.read_text().replace("PAUSE = 10, 3.0", "PAUSE = 2, 0.0"))
        self._path = f"{folder / 'bin'}:{os.environ['PATH']}"
        python = self._repository / ".venv" / "bin"
        python.mkdir(parents=True)
        for command in (folder / "bin" / "make", folder / "bin" / "cosign", python / "python"):
            command.write_text(COMMAND.format(folder=self.notes))
            command.chmod(0o755)
        self._stand_ins(folder / "actions")
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("remote", "add", "origin", "https://github.com/our/house.git")
        self.commit()

    def _stand_ins(self, folder: Path) -> None:
        self._replaced: list[str] = []
        text = "".join(path.read_text() for path in (self._repository / ".github" / "workflows").iterdir())
        for action, name in set(USES.findall(text)):
            script = STAND_INS.get(name, "true")
            script = script.format(artifacts=self.artifacts, repository=self._repository)
            inputs = {"NAME": "name", "FILES": "path", "REF": "ref"}
            given = {variable: f"${{{{ inputs.{name} }}}}" for variable, name in inputs.items()}
            step = {"run": script, "shell": "bash", "env": given}
            definition = {
                "name": name,
                "description": name,
                "inputs": {word: {} for word in inputs.values()},
                "runs": {"using": "composite", "steps": [step]},
            }
            (folder / name).mkdir(parents=True)
            (folder / name / "action.yml").write_text(yaml.safe_dump(definition))
            self._replaced.append(f"--local-repository={action}={folder / name}")

    def git(self, *words: str) -> str:
        """Run git in the repository, as somebody."""
        somebody = ("-c", "user.name=a", "-c", "user.email=a@localhost")
        command = ["git", "-C", str(self._repository), *somebody, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, **texts: str) -> None:
        """Commit the repository, with more text in some of its files."""
        for path, text in texts.items():
            with (self._repository / path).open("a") as file:
                file.write(text)
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--message=x")

    def leave(self, command: str, file: str, text: str) -> None:
        """Have a command leave a file."""
        path = self.notes / f"left by {command}" / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def say(self, command: str, text: str) -> None:
        """Have a command print a text."""
        (self.notes / f"said by {command}").write_text(text)

    def end(self, command: str, code: int) -> None:
        """Have a command end with an exit code."""
        (self.notes / f"ends {command}").write_text(str(code))

    def run(
        self,
        workflow: str,
        name: str,
        event: Mapping[str, Any],
        *,
        variables: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        """Run a workflow for an event; its exit code and log."""
        (self._home / "event.json").write_text(json.dumps(event))
        given = [
            *(f"--var={key}={value}" for key, value in (variables or {}).items()),
            *(f"--secret={key}={value}" for key, value in (secrets or {}).items()),
            *(f"--env={key}={value}" for key, value in (environment or {}).items()),
        ]
        command = [
            ACT,
            name,
            f"--workflows=.github/workflows/{workflow}.yml",
            f"--eventpath={self._home}/event.json",
        ]
        options = ["--platform=ubuntu-24.04=-self-hosted", "--no-cache-server", "--concurrent-jobs=1"]
        options += [f"--action-cache-path={self._home}/cache", "--defaultbranch=main"]
        done = subprocess.run(
            [*command, *options, *self._replaced, *given],
            cwd=self._repository,
            env={"PATH": self._path, "HOME": str(self._home)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr

    @property
    def commands(self) -> list[str]:
        """What was run, in order."""
        path = self.notes / "commands"
        return path.read_text().splitlines() if path.exists() else []

    def environment(self, command: str) -> dict[str, str]:
        """The variables that a command had when it ran last."""
        lines = (self.notes / f"environment of {command}").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)
