"""Stack files: read with good errors, registered to match, and never over somebody else's."""

from pathlib import Path

import pytest

from millrace.errors import UserError
from stacks.stack_files import Component, load_stack_file, register_stack
from tests.conftest import ROOT, Home

STACKS = ROOT / "configs" / "stacks"


def test_the_environment_fills_in_what_the_file_leaves_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_HOME", "/somewhere")
    store = load_stack_file("local", STACKS).components["artifact_store"]
    assert store.configuration == {"path": "/somewhere/store"}


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MILLRACE_HOME", raising=False)
    with pytest.raises(UserError, match=r"artifact_store\.path: .* MILLRACE_HOME is not set"):
        load_stack_file("local", STACKS)


def test_a_wrong_key_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\ncomponents:\n  orchestrator:\n    flavour: local\n")
    with pytest.raises(UserError, match=r"mine\.yaml, line 4: unknown key .*Did you mean 'flavor'"):
        load_stack_file("mine", tmp_path)


def test_registering_again_changes_nothing_and_the_active_stack_stays(opened: Home) -> None:  # noqa: ARG001
    from zenml.client import Client

    active = Client().active_stack_model.id
    stack = load_stack_file("local", STACKS)
    first, second = register_stack(stack), register_stack(stack)
    assert first == second
    assert Client().active_stack_model.id == active != first


def test_a_changed_file_updates_the_stack(opened: Home) -> None:
    from zenml.client import Client

    stack = load_stack_file("local", STACKS)
    moved = Component(flavor="local", configuration={"path": str(opened.path / "elsewhere")})
    register_stack(stack.model_copy(update={"components": {**stack.components, "artifact_store": moved}}))
    store = Client().get_stack_component("artifact_store", "millrace-local")  # type: ignore[arg-type]
    assert store.configuration["path"] == str(opened.path / "elsewhere")


def test_a_stack_of_somebody_else_is_left_alone(opened: Home) -> None:  # noqa: ARG001
    from zenml.client import Client
    from zenml.enums import StackComponentType

    client = Client()
    kinds = (StackComponentType.ORCHESTRATOR, StackComponentType.ARTIFACT_STORE)
    client.create_stack("mine", dict.fromkeys(kinds, "default"))
    stack = load_stack_file("local", STACKS).model_copy(update={"name": "mine"})
    with pytest.raises(UserError, match="that Millrace did not make"):
        register_stack(stack)
