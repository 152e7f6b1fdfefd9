"""Stacks as files: configs/stacks/<name>.yaml, read with the environment's values put in."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import InvalidRequirement, Requirement
from pydantic import Field, field_validator

from millrace.errors import UserError, unknown
from millrace.strict import Strict
from millrace.yaml_files import read_model
from stacks.variables import CREDENTIALS_IN_URL, Variables

# Keys whose values are secrets, as ZenML's flavors and the clients behind them name them.
SECRET = re.compile(r"(^|_)(key|secret|token|username|password)$", re.IGNORECASE)
# The name of a secret, not one itself.
NAMES_A_SECRET = "authentication_secret"
VARIABLE = re.compile(r"\$\{\w+\}")
ZENML_SECRET = re.compile(r"\{\{\s*([^\s.]+)\.(\S+)\s*\}\}")


class Component(Strict):
    """One stack component: its flavor, the flavor's own configuration, and what that needs installed."""

    flavor: str
    configuration: dict[str, Any] = Field(default_factory=dict, repr=False)
    requires: tuple[str, ...] = ()

    @field_validator("configuration")
    @classmethod
    def _secrets_by_reference(cls, configuration: dict[str, Any]) -> dict[str, Any]:
        for path, value in _texts(configuration):
            if CREDENTIALS_IN_URL.search(value):
                raise ValueError(f"'{path}' has a password in its URL; give it a key of its own")
            if not is_secret(path.rpartition(".")[2]):
                continue
            if "." in path:
                raise ValueError(
                    f"'{path}' is a secret; ZenML keeps those at the top level of a configuration"
                )
            _refuse_literal(path, value)
        return configuration

    @field_validator("requires")
    @classmethod
    def _requirements(cls, requires: tuple[str, ...]) -> tuple[str, ...]:
        for text in requires:
            try:
                Requirement(text)
            except InvalidRequirement:
                raise ValueError(f"'{text}' is not a requirement such as s3fs>=2025.3") from None
        return requires


class Orchestrator(Component):
    """Where the steps run."""

    flavor: Literal["local", "kubernetes"]


class ArtifactStore(Component):
    """Where artifacts are kept."""

    flavor: Literal["local", "s3", "gcp"]


class ExperimentTracker(Component):
    """Where MLflow's runs and models are kept."""

    flavor: Literal["mlflow"]


class ContainerRegistry(Component):
    """Where the images of steps are kept."""

    flavor: Literal["default", "aws", "gcp", "azure", "dockerhub", "github"]


class ImageBuilder(Component):
    """What builds the images of steps."""

    flavor: Literal["local"]


class Components(Strict):
    """The components of a stack, by ZenML's names of their types."""

    orchestrator: Orchestrator
    artifact_store: ArtifactStore
    experiment_tracker: ExperimentTracker
    container_registry: ContainerRegistry | None = None
    image_builder: ImageBuilder | None = None

    def items(self) -> Iterator[tuple[str, Component]]:
        """The components that there are, by type."""
        for kind in type(self).model_fields:
            component = getattr(self, kind)
            if component is not None:
                yield kind, component


class Server(Strict):
    """The ZenML server that keeps runs and lineage."""

    url: str
    api_key: str = Field(repr=False)

    @field_validator("api_key")
    @classmethod
    def _by_reference(cls, value: str) -> str:
        _refuse_literal("api_key", value)
        return value


class Retry(Strict):
    """How often a failed step is tried again, after how many seconds, and how that grows."""

    max_retries: int = Field(ge=0)
    delay: int = Field(default=0, ge=0)
    backoff: int = Field(default=1, ge=1)


class StackFile(Strict):
    """A stack as its file has it; `${NAME}` in a text stands for a variable of the environment.

    Without `server`, ZenML's store is on this machine. `settings` and `retry` are ZenML's, for every run
    on the stack.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    server: Server | None = None
    components: Components
    settings: dict[str, Any] = Field(default_factory=dict)
    retry: Retry | None = None


@dataclass(frozen=True)
class Stack:
    """A stack with the environment's values in place of `${NAME}`, and its file, which names them."""

    name: str
    server: Server | None
    components: dict[str, Component]
    settings: dict[str, Any]
    retry: Retry | None
    file: StackFile = field(repr=False)

    def run_options(self) -> dict[str, Any]:
        """What the stack says of every run, as ZenML's pipelines take it."""
        return {"retry": self.retry.model_dump()} if self.retry else {}

    def references(self, *path: str) -> str:
        """How the file writes the value at a path, for who is to correct it: "${NAME}"."""
        value: Any = self.file.model_dump()
        for part in path:
            value = value[part]
        return str(value)


def stack_names(folder: Path) -> list[str]:
    """List the stacks that have a file in `folder`."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load_stack_file(name: str, folder: Path) -> Stack:
    """Read `<folder>/<name>.yaml` and fill in the environment.

    A variable that is not set is looked up in `<home>/<name>/environment`, lines of NAME=value.

    Raises:
        UserError: no such stack, a faulty file, or variables that are not set.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise unknown("stack", name, stack_names(folder))
    file = read_model(path, StackFile)
    if file.name != name:
        raise UserError(f"{path}: the stack in it is named '{file.name}'; name it as the file.")
    variables = Variables(name)
    components = {
        kind: component.model_copy(
            update={"configuration": variables.fill(component.configuration, f"{path}, components.{kind}")}
        )
        for kind, component in file.components.items()
    }
    server = file.server and Server.model_construct(
        **variables.fill(file.server.model_dump(), f"{path}, server")
    )
    settings = variables.fill(file.settings, f"{path}, settings")
    variables.require(path)
    return Stack(name, server, components, settings, file.retry, file)


def is_secret(key: str) -> bool:
    """Whether a key of a component's configuration holds a secret."""
    return bool(SECRET.search(key)) and key != NAMES_A_SECRET


def is_reference(value: Any) -> bool:
    """Whether a value refers to a key of a ZenML secret."""
    return isinstance(value, str) and bool(ZENML_SECRET.fullmatch(value))


def _refuse_literal(key: str, value: str) -> None:
    if not VARIABLE.fullmatch(value) and not is_reference(value):
        raise ValueError(
            f"'{key}' is a secret in clear text; write ${{NAME}} and set that variable, or "
            "{{secret.key}} for one that ZenML keeps"
        )


def _texts(data: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text and number in nested data, by the path of its keys."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _texts(value, f"{path}.{key}" if path else str(key))
    elif isinstance(data, list):
        for value in data:
            yield from _texts(value, path)
    elif data is not None and not isinstance(data, bool):
        yield path, str(data)
