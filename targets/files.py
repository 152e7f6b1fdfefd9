"""Targets as files: configs/targets/<name>.yaml, with the environment's values put in."""

import re
from importlib import import_module
from pathlib import Path
from typing import ClassVar

from pydantic import Field, ValidationError

from millrace.errors import UserError, nearest, unknown
from millrace.strict import Strict
from millrace.yaml_files import faults, line_of, read_yaml
from stacks.environment import ROOT
from stacks.variables import Variables
from targets.target import Target

# The module of each kind, imported when one is asked for: what it needs may be heavy. Its `Settings` say how
# the file is written.
KINDS = {
    "process": "targets.process",
    "compose": "targets.compose",
    "kubernetes": "targets.kubernetes",
    "ecs": "targets.ecs",
    "lambda": "targets.aws_lambda",
    "cloud-run": "targets.cloud_run",
}

NAME = re.compile(r"[\w.-]+", re.ASCII)
TARGETS = ROOT / "configs" / "targets"


class TargetSettings(Strict):
    """What the file of any target says.

    `runs_images` says whether what runs there is an image, and `variant` which Dockerfile of deploy/, if any,
    adds to the usual one what the target needs.
    """

    runs_images: ClassVar[bool] = True
    variant: ClassVar[str | None] = None

    kind: str
    api_key: str | None = Field(None, repr=False, description="one that opens `predict`, if the service asks")
    watch_seconds: float = Field(60, ge=0, description="how long a new release is watched under traffic")
    max_failed: float = Field(0.01, ge=0, le=1, description="share of its requests that may fail meanwhile")

    def make(self, problem: str) -> Target:
        """The target for the service of a problem."""
        raise NotImplementedError


def target_names(folder: Path) -> list[str]:
    """The targets that have a file in `folder`."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load_target_file(name: str, folder: Path) -> TargetSettings:
    """Read `<folder>/<name>.yaml`, or the file that `name` is the path of.

    Raises:
        UserError: no such target, a faulty file, or variables that are not set.
    """
    path = Path(name) if name.endswith(".yaml") else folder / f"{name}.yaml"
    if not path.is_file():
        raise unknown("target", name, target_names(folder))
    if not NAME.fullmatch(path.stem):
        raise UserError(
            f"{path}: a target is called as its file; use letters, digits, '-', '_' and '.' there."
        )
    data, node = read_yaml(path)
    kind = data.get("kind")
    if kind not in KINDS:
        raise UserError(
            f"{path}: its kind is '{kind}'; known: {', '.join(KINDS)}.{nearest(str(kind), KINDS)}"
        )
    variables = Variables(path.stem)
    data = variables.fill(data, str(path))
    variables.require(path)
    model: type[TargetSettings] = import_module(KINDS[kind]).Settings
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise faults(error, model, lambda location: f"{path}, line {line_of(node, location)}") from None
