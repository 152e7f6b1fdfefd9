"""Registration: ZenML's stack is made to match the file, every change is told, nobody else's is touched."""

import dataclasses
from typing import Any
from uuid import UUID

import pytest

from millrace.errors import UserError
from stacks.registration import register_stack
from stacks.stack_files import Component, Stack, load_stack_file
from tests.conftest import ROOT, Home

STACKS = ROOT / "configs" / "stacks"


def changed(stack: Stack, **components: Component | None) -> Stack:
    """A stack with other components; None takes one out."""
    merged = {**stack.components, **components}
    return dataclasses.replace(stack, components={kind: c for kind, c in merged.items() if c is not None})


def s3(**configuration: Any) -> Component:
    """An S3 artifact store with secrets, as a file's references have been filled in."""
    filled = {"path": "s3://bucket/a", "key": "the-key", "secret": "the-secret", **configuration}
    return Component.model_construct(flavor="s3", configuration=filled, requires=())


def store_of(stack: str) -> Any:
    """A registered artifact store's configuration."""
    from zenml.client import Client
    from zenml.enums import StackComponentType

    kind = StackComponentType.ARTIFACT_STORE
    return Client().get_stack_component(kind, f"millrace-{stack}").configuration


@pytest.mark.usefixtures("opened")
def test_registering_again_changes_nothing_and_the_active_stack_stays() -> None:
    from zenml.client import Client

    active = Client().active_stack_model.id
    stack = load_stack_file("local", STACKS)
    (first, _), (second, changes) = register_stack(stack), register_stack(stack)
    assert first == second
    assert changes == []
    assert Client().active_stack_model.id == active != UUID(first)


def test_a_changed_file_updates_the_stack_and_says_what_changed(opened: Home) -> None:
    stack = load_stack_file("local", STACKS)
    moved = str(opened.path / "elsewhere")
    _, [change] = register_stack(
        changed(stack, artifact_store=Component(flavor="local", configuration={"path": moved}))
    )
    assert change.startswith("~ artifact_store.path: ")
    assert change.endswith(f" -> {moved}")
    assert store_of("local")["path"] == moved


@pytest.mark.usefixtures("opened")
def test_a_key_that_leaves_the_file_leaves_the_component() -> None:
    stack = dataclasses.replace(load_stack_file("local", STACKS), name="other")
    register_stack(changed(stack, artifact_store=s3(config_kwargs={"a": 1}, client_kwargs={"b": 2})))
    _, changes = register_stack(changed(stack, artifact_store=s3(client_kwargs={"b": 3})))
    assert changes == [
        "~ artifact_store.client_kwargs: {'b': 2} -> {'b': 3}",
        "- artifact_store.config_kwargs: {'a': 1}",
    ]
    assert store_of("other").keys() == {"path", "key", "secret", "client_kwargs"}


@pytest.mark.usefixtures("opened")
def test_a_component_that_leaves_or_joins_the_file_leaves_or_joins_the_stack() -> None:
    from zenml.client import Client

    stack = load_stack_file("local", STACKS)
    register_stack(stack)
    registry = Component(flavor="default", configuration={"uri": "localhost:5000/a"})
    stack_id, changes = register_stack(changed(stack, container_registry=registry))
    assert changes == ["+ container_registry: default", "+ container_registry.uri: localhost:5000/a"]
    kinds = {kind.value for kind in Client().get_stack(UUID(stack_id)).components}
    assert kinds == {*stack.components, "container_registry"}

    same_id, changes = register_stack(stack)
    assert (same_id, changes) == (stack_id, ["- container_registry"])
    assert {kind.value for kind in Client().get_stack(UUID(stack_id)).components} == {*stack.components}


@pytest.mark.usefixtures("opened")
def test_secrets_go_into_zenml_s_secret_and_into_nothing_that_is_shown() -> None:
    from zenml.client import Client

    stack = dataclasses.replace(load_stack_file("local", STACKS), name="hidden")
    _, changes = register_stack(changed(stack, artifact_store=s3()))
    assert "+ secret artifact_store_secret" in changes
    assert not [change for change in changes if "the-" in change]
    reference = "{{millrace-hidden.artifact_store_secret}}"
    assert store_of("hidden")["secret"] == reference
    kept = Client().get_secret("millrace-hidden").secret_values
    assert kept == {
        "artifact_store_key": "the-key",
        "artifact_store_secret": "the-secret",
        "made_by": "millrace",
    }

    _, changes = register_stack(changed(stack, artifact_store=s3(secret="the-new-one")))
    assert changes == ["~ secret artifact_store_secret: another value"]
    assert Client().get_secret("millrace-hidden").secret_values["artifact_store_secret"] == "the-new-one"


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize("what", ["stack", "component", "secret"])
def test_what_somebody_else_made_is_left_alone_and_nothing_is_made_beside_it(what: str) -> None:
    from zenml.client import Client
    from zenml.enums import StackComponentType

    client = Client()
    if what == "stack":
        kinds = (StackComponentType.ORCHESTRATOR, StackComponentType.ARTIFACT_STORE)
        client.create_stack("mine", dict.fromkeys(kinds, "default"))
    elif what == "component":
        client.create_stack_component("millrace-mine", "local", StackComponentType.ORCHESTRATOR, {})
    else:
        client.create_secret("millrace-mine", {"artifact_store_key": "theirs"})
    before = client.list_stacks(size=100).total, client.list_stack_components(size=100).total

    stack = dataclasses.replace(load_stack_file("local", STACKS), name="mine")
    with pytest.raises(UserError, match="that Millrace did not make"):
        register_stack(changed(stack, artifact_store=s3()))
    assert (client.list_stacks(size=100).total, client.list_stack_components(size=100).total) == before
    secrets = {
        secret.name: client.get_secret(secret.id).secret_values for secret in client.list_secrets().items
    }
    assert secrets == ({"millrace-mine": {"artifact_store_key": "theirs"}} if what == "secret" else {})
