"""What holds for every workflow and the Jenkinsfile, and what their commands come to."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from commands import PIPELINES
from commands.options import make_parser

ROOT = Path(__file__).parent.parent.parent
JENKINSFILE = ROOT / "Jenkinsfile"
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TOOLS = ROOT / ".venv" / "tools" / "bin"
PINNED = re.compile(r"uses: [\w.-]+(/[\w.-]+)+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
MAKE = re.compile(r"\bmake ([^\n;|&>]+)")
VARIABLE = re.compile(r"\$\{(\w+)\}")
SECRET = re.compile(r"(KEY|SECRET|PASSWORD|TOKEN)$")
# What would be a key of a cloud, where a role is to be taken on.
CLOUD_KEYS = re.compile(r"aws[-_](access|secret)|credentials_json|GOOGLE_CREDENTIALS", re.IGNORECASE)
GROOVY = """
import sys
from tree_sitter import Language, Parser
import tree_sitter_groovy
parser = Parser(Language(tree_sitter_groovy.language()))
for path in sys.argv[1:]:
    print("broken" if parser.parse(open(path, "rb").read()).root_node.has_error else "whole")
"""
# Targets of the Makefile take these by name; the others of a workflow's variables are for programs.
RUNNING = {"train", "monitor", "promote", "deploy", "roll-back"}


def read(path: Path) -> dict[str, Any]:
    """A workflow; YAML takes `on` for a boolean."""
    data: dict[Any, Any] = yaml.safe_load(path.read_text())
    data["on"] = data.pop(True)
    return data


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each job of each workflow, by `workflow.job`."""
    for path in WORKFLOWS:
        for name, job in read(path)["jobs"].items():
            yield f"{path.stem}.{name}", job


def steps() -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
    """Each step, with the variables that its job and it set."""
    for name, job in jobs():
        for step in job["steps"]:
            yield name, step, {**job.get("env", {}), **step.get("env", {})}


def made(text: str) -> list[str]:
    """The targets that the `make` commands of a text ask for."""
    words = [word for command in MAKE.findall(text) for word in shlex.split(command)]
    return [word for word in words if "=" not in word and not word.startswith("-")]


def jenkins() -> list[str]:
    """The shell commands of the Jenkinsfile."""
    return re.findall(r"\bsh '([^']*)'", JENKINSFILE.read_text())


def targets() -> set[str]:
    """The Makefile's targets that are for people."""
    return set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))


def lint(tool: str, *arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a linter as deploy/lint.sh does."""
    (line,) = re.findall(
        rf"^check {tool} ({tool} .*)$", (ROOT / "deploy" / "lint.sh").read_text(), re.MULTILINE
    )
    environment = {**os.environ, "PATH": f"{TOOLS}:{os.environ['PATH']}"}
    return subprocess.run(
        [*shlex.split(line), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_workflows_are_there() -> None:
    assert [path.stem for path in WORKFLOWS] == ["ci", "monitor", "release", "train"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_and_says_its_version(path: Path) -> None:
    uses = [line.strip().removeprefix("- ") for line in path.read_text().splitlines() if "uses:" in line]
    assert uses
    assert [line for line in uses if not PINNED.fullmatch(line)] == []


def test_an_action_has_one_version_everywhere() -> None:
    used = {step["uses"] for _, step, _ in steps() if "uses" in step}
    assert len({action.partition("@")[0] for action in used}) == len(used)


def test_nothing_may_do_what_it_need_not() -> None:
    for path in WORKFLOWS:
        workflow = read(path)
        assert workflow["permissions"] == {}, path
        assert "pull_request_target" not in workflow["on"], path
        assert workflow["concurrency"]["group"], path
    for name, job in jobs():
        assert "contents" in job["permissions"], name
        assert job["permissions"]["contents"] == "read", name
        assert 0 < job["timeout-minutes"] <= 180, name
    written = {
        name: {what for what, level in job["permissions"].items() if level == "write"} for name, job in jobs()
    }
    assert {name: rights for name, rights in written.items() if rights} == {
        "train.train": {"id-token"},
        "train.comment": {"pull-requests"},
        "monitor.judge": {"id-token"},
        "monitor.tell": {"issues"},
        "release.release": {"id-token", "attestations", "packages"},
    }


def test_who_may_write_on_github_has_no_secrets_and_runs_no_code_of_a_pull_request() -> None:
    for name, job in jobs():
        if {"pull-requests", "issues"} & job["permissions"].keys():
            assert "environment" not in job, name
            secrets = set(re.findall(r"secrets\.(\w+)", json.dumps(job)))
            assert secrets == {"GITHUB_TOKEN"}, name
    (checkout,) = (
        step
        for name, step, _ in steps()
        if name == "train.comment" and str(step.get("uses")).startswith("actions/checkout@")
    )
    assert checkout["with"]["ref"] == "${{ github.event.pull_request.base.sha }}"


def test_checkouts_leave_no_token_behind() -> None:
    checkouts = [step for _, step, _ in steps() if str(step.get("uses")).startswith("actions/checkout@")]
    assert len(checkouts) == len(list(jobs()))
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_there_are_no_keys_of_clouds() -> None:
    for path in (*WORKFLOWS, JENKINSFILE):
        assert not CLOUD_KEYS.search(path.read_text()), path
    roles = [step["with"] for _, step, _ in steps() if "configure-aws-credentials" in str(step.get("uses"))]
    assert roles
    assert all(given["role-to-assume"] == "${{ vars.AWS_ROLE_ARN }}" for given in roles)


def test_nothing_from_outside_is_put_into_a_shell() -> None:
    for name, step, _ in steps():
        assert "${{" not in step.get("run", ""), name


def test_every_target_that_is_made_is_there() -> None:
    asked = {target for _, step, _ in steps() for target in made(step.get("run", ""))}
    assert {"lint", "test", "train", "monitor", "promote", "publish", "undo-promotion"} <= asked
    assert asked | {target for line in jenkins() for target in made(line)} <= targets()


def test_jenkins_has_a_line_of_make_for_each_stage() -> None:
    assert len(jenkins()) == len(re.findall(r"\bsh\b", JENKINSFILE.read_text())) >= 10
    assert all(line.startswith("make ") for line in jenkins())
    asked = {target for _, step, _ in steps() for target in made(step.get("run", ""))}
    # There a deployment builds and pushes by itself, and ends with the way back.
    assert asked - {"publish", "roll-back"} == {target for line in jenkins() for target in made(line)}


def test_the_jenkinsfile_is_groovy(tmp_path: Path) -> None:
    """Its syntax alone: what a declarative pipeline may say, only Jenkins knows."""
    text = JENKINSFILE.read_text()
    broken = {
        "brace": text + "}\n",
        "quote": text.replace("sh 'make lint'", "sh 'make lint", 1),
        "block": text.replace("stage('Test') {", "stage('Test') ", 1),
        "name": text.replace("params.TRAIN", "params.", 1),
    }
    for name, fault in broken.items():
        assert fault != text
        (tmp_path / name).write_text(fault)
    done = subprocess.run(
        [TOOLS / "python", "-c", GROOVY, JENKINSFILE, *(tmp_path / name for name in broken)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["whole", *("broken" for _ in broken)]


@pytest.fixture
def command(tmp_path: Path) -> Any:
    """What `make TARGET` runs instead of Python, with some variables: the words of its command line."""
    recorder = tmp_path / "recorder"
    recorder.write_text('#!/bin/sh\nfor word; do printf "%s\\0" "$word"; done\n')
    recorder.chmod(0o755)

    def run(target: str, **variables: str) -> list[str]:
        environment = {"PATH": os.environ["PATH"], **variables}
        done = subprocess.run(
            ["make", "--silent", "--assume-old=.venv/.run", f"RUN={recorder}", target],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split("\0")[:-1]

    return run


def test_every_command_line_is_one_of_run_py(command: Any) -> None:
    parser = make_parser(PIPELINES)
    seen = set()
    for name, step, variables in steps():
        for target in made(step.get("run", "")):
            if target not in RUNNING or name.startswith("ci."):
                continue
            given = {
                key: f"a {key} \"'$(of) mine" if "${{" in value else value for key, value in variables.items()
            }
            # These two have been chosen from what is there.
            program, *words = command(target, **{**given, "PROBLEM": "iris", "TARGET": "ecs"})
            assert program == "run.py", name
            arguments = parser.parse_args(words)
            seen.add((name, target))
            assert arguments.problem == "iris"
            assert arguments.summary == Path(given["SUMMARY"])
            if target == "promote":
                assert (getattr(arguments, "from"), arguments.to) == ("staging", given["TO"])
                assert arguments.version == given["VERSION"]
                assert arguments.stack == "local"
            else:
                assert arguments.stack == given["STACK"]
            if target in ("deploy", "roll-back"):
                assert (arguments.target, arguments.image) == ("ecs", given.get("IMAGE"))
                assert arguments.roll_back is (target == "roll-back")
    assert seen == {("train.train", "train"), ("monitor.judge", "monitor")} | {
        ("release.release", target) for target in ("promote", "deploy", "roll-back")
    }


def test_variables_that_are_not_set_are_not_said(command: Any) -> None:
    assert command("train") == ["run.py", "--pipeline", "training", "--problem", "housing_sample"]
    assert command("monitor", STACK="", SINCE="", LOG="", SUMMARY="")[1:3] == ["--pipeline", "monitoring"]
    assert "--set" not in command("monitor", LOG="")
    deployed = ["--pipeline", "deployment", "--problem", "iris", "--target", "process"]
    assert command("deploy", PROBLEM="iris") == ["run.py", *deployed]
    assert command("promote", TO="local")[-4:] == ["--from", "staging", "--to", "local"]


def test_each_secret_that_a_stack_asks_for_is_passed_where_it_is_used() -> None:
    asked = {
        stack: set(VARIABLE.findall((ROOT / "configs" / "stacks" / f"{stack}.yaml").read_text()))
        for stack in ("staging", "production-client")
    }
    assert all(name.startswith("MILLRACE_") for names in asked.values() for name in names)
    secret = {stack: {name for name in names if SECRET.search(name)} for stack, names in asked.items()}
    assert len(secret["staging"]) == len(secret["production-client"]) == 4
    wanted = {
        "train": secret["staging"],
        "monitor": secret["staging"],
        "promote": secret["staging"] | secret["production-client"],
        **dict.fromkeys(("publish", "deploy", "roll-back", "undo-promotion"), secret["production-client"]),
    }
    for name, step, variables in steps():
        for target in made(step.get("run", "")):
            if name.startswith("ci."):
                assert not any("secrets." in str(value) for value in variables.values())
            elif target in wanted:
                assert wanted[target] <= variables.keys(), (name, target)
                for variable in wanted[target]:
                    assert variables[variable] == f"${{{{ secrets.{variable} }}}}"


def test_targets_of_releases_have_files_and_ask_for_nothing_secret() -> None:
    (options,) = (
        given["options"]
        for name, given in read(WORKFLOWS[2])["on"]["workflow_dispatch"]["inputs"].items()
        if name == "target"
    )
    jenkins_has = re.findall(r"name: 'TARGET', choices: \[([^]]*)\]", JENKINSFILE.read_text())
    assert jenkins_has == [", ".join(f"'{option}'" for option in options)]
    for option in options:
        asked = VARIABLE.findall((ROOT / "configs" / "targets" / f"{option}.yaml").read_text())
        assert asked
        assert all(name.startswith("MILLRACE_") and not SECRET.search(name) for name in asked), option


def test_addresses_come_before_they_are_needed() -> None:
    for name, job in jobs():
        if "environment" in job:
            runs = [step.get("run", "") for step in job["steps"]]
            given = next(at for at, run in enumerate(runs) if "deploy.workflows.variables" in run)
            assert all(at > given for at, run in enumerate(runs) if made(run)), name


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with this project's workflows."""
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    return tmp_path


@pytest.mark.parametrize("tool", ["jactionlint", "zizmor"])
def test_linters_find_nothing(tool: str, repository: Path) -> None:
    done = lint(tool, folder=repository)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("tool", "was", "fault", "said"),
    [
        ("jactionlint", 'comment "$NUMBER"', "comment ${{ github.head_ref }}", "untrusted"),
        ("zizmor", 'comment "$NUMBER"', "comment ${{ github.head_ref }}", "template-injection"),
        ("zizmor", "@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2", "@v4", "unpinned-uses"),
        ("zizmor", "  pull_request:\n", "  pull_request_target:\n", "dangerous-triggers"),
        ("zizmor", "permissions: {}\n", "permissions: write-all\n", "excessive-permissions"),
        ("zizmor", "persist-credentials: false", "fetch-tags: false", "artipacked"),
        ("jactionlint", "needs: choose\n", "needs: choise\n", "choise"),
        ("jactionlint", "steps.choice.outputs.problems", "steps.chose.outputs.problems", "chose"),
        ("jactionlint", "cat comment.md >>", "cat $comment >>", "SC2086"),
        ("jactionlint", '    - cron: "0 3 * * sun"', '    - cron: "0 25 * * sun"', "cron"),
    ],
)
def test_linters_find_what_is_planted(tool: str, was: str, fault: str, said: str, repository: Path) -> None:
    train = repository / ".github" / "workflows" / "train.yml"
    text = train.read_text()
    assert was in text
    train.write_text(text.replace(was, fault, 1))
    done = lint(tool, folder=repository)
    assert done.returncode != 0
    assert said in done.stdout
