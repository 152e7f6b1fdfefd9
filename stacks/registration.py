"""ZenML's stack of a stack file: registered, or changed to match it, with every change told."""

from typing import Any

from millrace.errors import UserError
from stacks.flavors import normal
from stacks.lease import leased
from stacks.stack_files import Component, Stack, is_reference, is_secret

OWNER = {"made_by": "millrace"}


def register_stack(stack: Stack) -> tuple[str, list[str]]:
    """Make ZenML's stack of this name match the file; return its id and what has been changed, a line each.

    Nothing is changed before all of it is known to be Millrace's own. Secrets from the environment
    become one ZenML secret, and the components refer to it: what they hold themselves, everybody can read.
    Of two machines that are the first on a server, one makes the stack and the other finds it.

    Raises:
        UserError: a stack, component or secret of this name exists that Millrace did not make.
    """
    from zenml.client import Client

    if stack.server is None or Client().list_stacks(name=f"equals:{stack.name}").items:
        return _register(stack)
    with leased(f"lock-stack-{stack.name}"):
        return _register(stack)


def _register(stack: Stack) -> tuple[str, list[str]]:
    from zenml.client import Client
    from zenml.enums import StackComponentType

    client, name = Client(), component_name(stack.name)
    secrets: dict[str, str] = {}
    wanted = {
        kind: normal(kind, component.flavor, _by_reference(name, kind, component, secrets))
        for kind, component in stack.components.items()
    }
    found = client.list_stacks(name=f"equals:{stack.name}", hydrate=True).items
    if found:
        _refuse_foreign(found[0].labels, f"stack '{stack.name}'")
    existing = {kind: _existing(stack, kind, component) for kind, component in stack.components.items()}
    changes = _keep_secrets(name, secrets)
    ids = {}
    for kind, component in stack.components.items():
        registered, configuration = existing[kind], wanted[kind]
        component_type = StackComponentType(kind)
        if registered is None:
            registered = client.create_stack_component(
                name, component.flavor, component_type, configuration, labels=OWNER
            )
            changes.append(f"+ {kind}: {component.flavor}")
            changes += [f"+ {kind}.{key}: {value}" for key, value in configuration.items()]
        elif different := _differences(kind, registered.configuration, configuration):
            gone = dict.fromkeys(registered.configuration.keys() - configuration.keys())
            client.update_stack_component(
                registered.id, component_type, configuration={**configuration, **gone}
            )
            changes += different
        ids[component_type] = registered.id
    if not found:
        return str(client.create_stack(stack.name, ids, labels=OWNER).id), [f"+ stack {stack.name}", *changes]
    current = {kind: members[0].id for kind, members in found[0].components.items()}
    if current != ids:
        # A type that the file has no longer is taken out by an empty list.
        updates = {**{kind: [] for kind in current}, **{kind: [member] for kind, member in ids.items()}}
        client.update_stack(found[0].id, component_updates=updates)
        changes += [f"- {kind.value}" for kind in sorted(current.keys() - ids.keys())]
    return str(found[0].id), changes


def component_name(stack: str) -> str:
    """The name of a stack's components and of its secret in ZenML."""
    return f"millrace-{stack}"


def _by_reference(name: str, kind: str, component: Component, secrets: dict[str, str]) -> dict[str, Any]:
    """A component's configuration with its secrets moved to `secrets` and referred to."""
    configuration = dict(component.configuration)
    for key, value in configuration.items():
        if is_secret(key) and isinstance(value, str) and not is_reference(value):
            secrets[f"{kind}_{key}"] = value
            configuration[key] = f"{{{{{name}.{kind}_{key}}}}}"
    return configuration


def _keep_secrets(name: str, secrets: dict[str, str]) -> list[str]:
    """Make ZenML's secret of this name hold these values, and say which of them changed."""
    from zenml.client import Client

    client = Client()
    if not secrets:
        return []
    try:
        kept = client.get_secret_by_name_and_private_status(name, private=False)
    except KeyError:
        client.create_secret(name, {**secrets, **OWNER})
        return [f"+ secret {key}" for key in secrets]
    _refuse_foreign(kept.secret_values, f"secret '{name}'")
    changed = [key for key, value in secrets.items() if kept.secret_values.get(key) != value]
    gone = sorted(kept.secret_values.keys() - secrets.keys() - OWNER.keys())
    if changed or gone:
        client.update_secret(
            kept.id, add_or_update_values={key: secrets[key] for key in changed}, remove_values=gone
        )
    return [f"~ secret {key}: another value" for key in changed] + [f"- secret {key}" for key in gone]


def _existing(stack: Stack, kind: str, component: Component) -> Any:
    """The registered component of this stack and type, if there is one."""
    from zenml.client import Client
    from zenml.enums import StackComponentType

    name = component_name(stack.name)
    found = (
        Client()
        .list_stack_components(name=f"equals:{name}", type=StackComponentType(kind), hydrate=True)
        .items
    )
    if not found:
        return None
    _refuse_foreign(found[0].labels, f"{kind} '{name}'")
    if found[0].flavor_name != component.flavor:
        raise UserError(
            f"The {kind} of stack '{stack.name}' is registered with flavor '{found[0].flavor_name}', the "
            f"file says '{component.flavor}'. Delete it first: zenml {kind.replace('_', '-')} delete {name}."
        )
    return found[0]


def _differences(kind: str, current: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    lines = []
    for key in sorted(current.keys() | wanted.keys()):
        before, after = current.get(key), wanted.get(key)
        if before is None and after is not None:
            lines.append(f"+ {kind}.{key}: {after}")
        elif before is not None and after is None:
            lines.append(f"- {kind}.{key}: {before}")
        elif before != after:
            lines.append(f"~ {kind}.{key}: {before} -> {after}")
    return lines


def _refuse_foreign(labels: dict[str, Any] | None, what: str) -> None:
    if (labels or {}).get("made_by") != OWNER["made_by"]:
        raise UserError(
            f"ZenML already has a {what} that Millrace did not make. Rename that one, or name the stack "
            "in the file otherwise."
        )
