"""Stacks as files: configs/stacks/<name>.yaml, registered with ZenML to match."""

import os
from pathlib import Path
from string import Template
from typing import Any

from pydantic import Field

from millrace.errors import UserError, unknown
from millrace.strict import Strict
from millrace.yaml_files import read_model

OWNER = {"made_by": "millrace"}


class Component(Strict):
    """One stack component: its flavor and the flavor's own configuration."""

    flavor: str
    configuration: dict[str, Any] = Field(default_factory=dict)


class StackFile(Strict):
    """A stack by its components; `${NAME}` in a text value is taken from the environment."""

    name: str
    components: dict[str, Component]


def stack_names(folder: Path) -> list[str]:
    """List the stacks that have a file in `folder`."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load_stack_file(name: str, folder: Path) -> StackFile:
    """Read `<folder>/<name>.yaml` and fill in the environment.

    Raises:
        UserError: no such stack, a faulty file, or a variable that is not set.
    """
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise unknown("stack", name, stack_names(folder))
    stack = read_model(path, StackFile)
    components = {
        kind: component.model_copy(
            update={
                "configuration": {
                    key: _fill(value, f"{path}, {kind}.{key}")
                    for key, value in component.configuration.items()
                }
            }
        )
        for kind, component in stack.components.items()
    }
    return stack.model_copy(update={"components": components})


def register_stack(stack: StackFile) -> str:
    """Make ZenML's stack of this name match the file and return its id.

    Raises:
        UserError: a stack or component of this name exists that Millrace did not make.
    """
    from zenml.client import Client
    from zenml.enums import StackComponentType

    client = Client()
    components = {
        StackComponentType(kind): _register_component(stack.name, kind, component)
        for kind, component in stack.components.items()
    }
    found = client.list_stacks(name=stack.name, hydrate=True).items
    if not found:
        return str(client.create_stack(stack.name, components, labels=OWNER).id)
    existing = found[0]
    _refuse_foreign(existing, f"stack '{stack.name}'")
    registered = {kind: members[0].id for kind, members in existing.components.items()}
    if registered != components:
        client.update_stack(existing.id, component_updates=components)
    return str(existing.id)


def _register_component(stack: str, kind: str, component: Component) -> Any:
    from zenml.client import Client
    from zenml.enums import StackComponentType

    client = Client()
    name, component_type = f"millrace-{stack}", StackComponentType(kind)
    found = client.list_stack_components(name=name, type=component_type, hydrate=True).items
    if not found:
        made = client.create_stack_component(
            name, component.flavor, component_type, component.configuration, labels=OWNER
        )
        return made.id
    existing = found[0]
    _refuse_foreign(existing, f"{kind} '{name}'")
    if existing.flavor_name != component.flavor:
        raise UserError(
            f"The {kind} of stack '{stack}' is registered with flavor '{existing.flavor_name}', the file "
            f"says '{component.flavor}'. Delete it first: zenml {kind.replace('_', '-')} delete {name}."
        )
    current = {key: value for key, value in existing.configuration.items() if key in component.configuration}
    if current != component.configuration:
        client.update_stack_component(existing.id, component_type, configuration=component.configuration)
    return existing.id


def _refuse_foreign(existing: Any, what: str) -> None:
    if (existing.labels or {}).get("made_by") != OWNER["made_by"]:
        raise UserError(
            f"ZenML already has a {what} that Millrace did not make. Rename that one, or name the stack "
            "in the file otherwise."
        )


def _fill(value: Any, where: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return Template(value).substitute(os.environ)
    except KeyError as error:
        name = error.args[0]
        raise UserError(f"{where}: the environment variable {name} is not set.") from None
    except ValueError:
        raise UserError(
            f"{where}: '{value}' has a $ that names no variable; write $$ for a plain $."
        ) from None
