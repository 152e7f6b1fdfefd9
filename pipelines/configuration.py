"""Run configurations: ZenML's YAML format, with `--set` changing its `parameters.settings`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from millrace.errors import UserError, nearest
from millrace.yaml_files import Location, faults, line_of, read_yaml

S = TypeVar("S", bound=BaseModel)
SETTINGS: Location = ("parameters", "settings")


@dataclass(frozen=True)
class Configuration(Generic[S]):
    """The settings of one of our pipelines, and what else ZenML is told about the run."""

    settings: S
    zenml: dict[str, Any]


def load_configuration(
    path: Path, overrides: list[str], model: type[S], prefix: str = ""
) -> Configuration[S]:
    """Read a run configuration and apply `key=value` overrides; `key=null` takes a key out.

    Overrides have their keys below `prefix`, which those of the file have not.

    Raises:
        UserError: names the file and line, or the override, and the nearest valid key.
    """
    from zenml.config.pipeline_run_configuration import PipelineRunConfiguration

    if not path.is_file():
        raise UserError(f"{path}: no such run configuration.")
    data, node = read_yaml(path)
    settings = _section(data, path)
    changed = dict(_override(settings, text, prefix) for text in overrides)

    def place(location: Location) -> str:
        location = _without_tags(location)
        for key, text in changed.items():
            if key == location[: len(key)] or key[: len(location)] == location:
                return f"--set {text}"
        return f"{path}, line {line_of(node, SETTINGS + location)}"

    try:
        parsed = model.model_validate(settings)
    except ValidationError as error:
        raise faults(error, model, place) from None
    rest = {key: value for key, value in data.items() if key != "parameters"}
    known = set(PipelineRunConfiguration.model_fields)
    for key in sorted(set(rest) - known):
        # ZenML's own model lets unknown keys pass.
        raise UserError(f"{path}, line {line_of(node, (key,))}: unknown key '{key}'.{nearest(key, known)}")
    try:
        PipelineRunConfiguration.model_validate(rest)
    except ValidationError as error:
        raise faults(
            error, PipelineRunConfiguration, lambda location: f"{path}, line {line_of(node, location)}"
        ) from None
    return Configuration(parsed, rest)


def _section(data: dict[str, Any], path: Path) -> dict[str, Any]:
    section: Any = data
    for key in SETTINGS:
        section = section.get(key) if isinstance(section, dict) else None
    if not isinstance(section, dict):
        raise UserError(f"{path}: has no mapping 'parameters: settings:', where this pipeline is configured.")
    return section


def _override(settings: dict[str, Any], text: str, prefix: str) -> tuple[Location, str]:
    """Apply one `a.b=value` to nested settings and return its key as a location."""
    key, equals, value = text.removeprefix(prefix).partition("=")
    parts = tuple(key.split("."))
    if not equals or not all(parts):
        raise UserError(f"--set {text}: write it as key=value, for example --set seed=7.")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError:
        raise UserError(f"--set {text}: the value is not valid YAML.") from None
    target = settings
    for part in parts[:-1]:
        inner = target.setdefault(part, {})
        if not isinstance(inner, dict):
            raise UserError(f"--set {text}: '{part}' holds a value, not further keys.")
        target = inner
    if parsed is None:
        target.pop(parts[-1], None)
    else:
        target[parts[-1]] = parsed
    return parts, text


def _without_tags(location: Location) -> Location:
    """Pydantic puts a union's tag into the location (candidates.a.lightgbm.key); files have no such key."""
    return location[:2] + location[3:] if location[:1] == ("candidates",) and len(location) > 2 else location
