"""Stack files: read with good errors, secrets by reference only."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from millrace.errors import UserError
from stacks.stack_files import is_secret, load_stack_file, stack_names
from stacks.variables import CREDENTIALS_IN_URL
from tests.conftest import ROOT

STACKS = ROOT / "configs" / "stacks"
EXAMPLES = STACKS / "examples"
MINIMAL: dict[str, Any] = {
    "name": "mine",
    "server": {"url": "http://127.0.0.1:1", "api_key": "${KEY}"},
    "components": {
        "orchestrator": {"flavor": "local"},
        "artifact_store": {
            "flavor": "s3",
            "configuration": {
                "path": "s3://b/a",
                "key": "${KEY}",
                "secret": "${SECRET}",
                "client_kwargs": {"endpoint_url": "${ENDPOINT}"},
            },
        },
        "experiment_tracker": {"flavor": "mlflow"},
    },
}


@pytest.fixture(autouse=True)
def values(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "home"))
    for name, value in {"KEY": "k", "SECRET": "s3cret", "ENDPOINT": "http://127.0.0.1:2"}.items():
        monkeypatch.setenv(name, value)


def write(folder: Path, **changes: Any) -> Path:
    """A copy of the minimal file with values changed at dotted paths; None takes a key out."""
    data = yaml.safe_load(yaml.safe_dump(MINIMAL))
    for path, value in changes.items():
        *parents, key = path.split("__")
        place = data
        for parent in parents:
            place = place[parent]
        if value is None:
            del place[key]
        else:
            place[key] = value
    (folder / "mine.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    return folder


def refusal(folder: Path) -> str:
    """What is said of the stack `mine` of a folder."""
    with pytest.raises(UserError) as refused:
        load_stack_file("mine", folder)
    return str(refused.value)


def test_the_environment_fills_in_what_the_file_leaves_open(tmp_path: Path) -> None:
    stack = load_stack_file("mine", write(tmp_path))
    assert stack.components["artifact_store"].configuration == {
        "path": "s3://b/a",
        "key": "k",
        "secret": "s3cret",
        "client_kwargs": {"endpoint_url": "http://127.0.0.1:2"},
    }
    assert stack.server is not None
    assert stack.server.api_key == "k"
    assert stack.references("components", "artifact_store", "configuration", "secret") == "${SECRET}"


def test_no_secret_is_in_what_a_stack_shows_of_itself(tmp_path: Path) -> None:
    assert "s3cret" not in repr(load_stack_file("mine", write(tmp_path)))


def test_what_the_environment_lacks_comes_from_the_stack_s_own_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SECRET")
    own = tmp_path / "home" / "mine" / "environment"
    own.parent.mkdir(parents=True)
    own.write_text("# of make staging\nSECRET=a=b\nKEY=not this one\n")
    own.chmod(0o600)
    store = load_stack_file("mine", write(tmp_path)).components["artifact_store"]
    assert (store.configuration["key"], store.configuration["secret"]) == ("k", "a=b")

    own.chmod(0o644)
    assert f"run: chmod 600 {own}" in refusal(tmp_path)


def test_all_variables_that_are_not_set_are_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SECRET")
    monkeypatch.setenv("ENDPOINT", "")
    told = refusal(write(tmp_path))
    assert told.endswith(f"nor in {tmp_path}/home/mine/environment: ENDPOINT, SECRET.")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"components__orchestrator": {"flavour": "local"}}, "unknown key 'components.orchestrator.flavour'"),
        ({"components__orchestrator": {"flavour": "local"}}, "Did you mean 'flavor'"),
        ({"components__artefact_store": {"flavor": "s3"}}, "Did you mean 'artifact_store'"),
        ({"components__orchestrator__flavor": "kubernets"}, "Did you mean 'kubernetes'"),
        ({"components__artifact_store": None}, "'components.artifact_store' is missing"),
        ({"name": "yours"}, "the stack in it is named 'yours'; name it as the file"),
        ({"name": "Mine!"}, "'name': "),
        ({"retry": {"max_retries": -1}}, "'retry.max_retries'"),
        ({"components__orchestrator__requires": ["s3fs >"]}, "'s3fs >' is not a requirement"),
        ({"server__url": "${URL"}, "has a $ that names no variable; write $$ for a plain $"),
        ({"server__url": "http://me:pass@host"}, "the URL has a password in it"),
        (
            {"components__artifact_store__configuration__client_kwargs": {"endpoint_url": "http://a:b@c"}},
            "'client_kwargs.endpoint_url' has a password in its URL",
        ),
    ],
)
def test_a_faulty_file_is_refused_with_its_place(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    refused = refusal(write(tmp_path, **changes))
    assert f"{tmp_path}/mine.yaml" in refused
    assert told in refused


def test_a_wrong_key_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\ncomponents:\n  orchestrator:\n    flavour: local\n")
    assert "mine.yaml, line 4: unknown key" in refusal(tmp_path)


@pytest.mark.parametrize("value", ["s3cret", "a${SECRET}", "${SECRET}b", "", 12345, "{{secret}}", "$SECRET"])
@pytest.mark.parametrize("place", ["server__api_key", "components__artifact_store__configuration__secret"])
def test_a_secret_in_clear_text_is_refused(place: str, value: Any, tmp_path: Path) -> None:
    if place == "server__api_key" and value == 12345:
        assert "api_key" in refusal(write(tmp_path, **{place: value}))
    else:
        assert "is a secret in clear text" in refusal(write(tmp_path, **{place: value}))


def test_a_secret_below_the_top_level_is_refused_also_as_a_reference(tmp_path: Path) -> None:
    place = "components__artifact_store__configuration__client_kwargs"
    nested = write(tmp_path, **{place: {"aws_secret_access_key": "${SECRET}"}})
    assert "'client_kwargs.aws_secret_access_key' is a secret; ZenML keeps those at the top" in refusal(
        nested
    )


def test_zenml_s_own_secrets_may_be_referred_to(tmp_path: Path) -> None:
    place = "components__artifact_store__configuration__secret"
    stack = load_stack_file("mine", write(tmp_path, **{place: "{{s3creds.secret}}"}))
    assert stack.components["artifact_store"].configuration["secret"] == "{{s3creds.secret}}"


def test_every_secret_that_zenml_s_flavors_have_is_known_as_one() -> None:
    from zenml.utils.secret_utils import is_secret_field

    from stacks.flavors import CLASSES, config_class

    fields = {
        name
        for kind, flavor in CLASSES
        for name, field in config_class(kind, flavor).model_fields.items()
        if is_secret_field(field)
    }
    # An id, and only of MLflow at Databricks.
    assert {name for name in fields if not is_secret(name)} == {"databricks_client_id"}
    assert {"key", "secret", "token", "tracking_password"} <= fields
    assert not is_secret("authentication_secret")


@pytest.mark.parametrize("name", ["local", "staging", "production", "production-client"])
def test_the_shipped_stacks_are_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert name in stack_names(STACKS)
    check_file(STACKS / f"{name}.yaml", monkeypatch)


@pytest.mark.parametrize("name", ["aws", "backblaze", "gcp", "minio"])
def test_the_examples_are_read_and_what_they_configure_zenml_takes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stack_names(EXAMPLES) == ["aws", "backblaze", "gcp", "minio"]
    check_file(EXAMPLES / f"{name}.yaml", monkeypatch)


def check_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read a stack file with every variable set; ZenML's own classes take what it says."""
    from zenml.config import DockerSettings

    from stacks.flavors import normal, unknown_keys

    for name in sorted(set(re.findall(r"\$\{(\w+)\}", path.read_text()))):
        monkeypatch.setenv(name, "http://127.0.0.1:1" if name.endswith(("URL", "ENDPOINT")) else "value")
    stack = load_stack_file(path.stem, path.parent)
    assert not CREDENTIALS_IN_URL.search(path.read_text())
    for kind, component in stack.components.items():
        # Whatever the file says, ZenML keeps.
        assert unknown_keys(kind, component.flavor, component.configuration) == []
        assert normal(kind, component.flavor, component.configuration) == component.configuration
    if "docker" in stack.settings:
        assert set(stack.settings["docker"]) <= set(DockerSettings.model_fields)
        assert (ROOT / DockerSettings(**stack.settings["docker"]).requirements).is_file()
