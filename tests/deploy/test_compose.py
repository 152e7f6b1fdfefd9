"""The compose file, as docker-compose itself reads it: what must hold for every service."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from scheduler.__main__ import command_line
from scheduler.settings import read_schedules

COMPOSE = Path(__file__).parent.parent.parent / "deploy" / "compose"
SERVICES = {
    "s3",
    "postgresql",
    "mariadb",
    "mlflow",
    "zenml",
    "service",
    "scheduler",
    "prometheus",
    "alertmanager",
    "grafana",
}
SECRET = re.compile(r"PASSWORD|SECRET|(^|_)KEY|TOKEN", re.IGNORECASE)
NOT_SECRET = {"MARIADB_RANDOM_ROOT_PASSWORD": "1", "ZENML_SECRETS_STORE_TYPE": "sql"}


def names() -> list[str]:
    """The variables of the example file, none of which has a value."""
    lines = [line for line in (COMPOSE / ".env.example").read_text().splitlines() if not line.startswith("#")]
    assert all(line.endswith("=") for line in lines)
    return [line.removesuffix("=") for line in lines]


def compose(folder: Path, values: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """What docker-compose makes of the file with these variables and no others."""
    environment = folder / "env"
    environment.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    return subprocess.run(
        ["docker-compose", "--env-file", environment, "-f", COMPOSE / "staging.yaml", "config"],
        env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The resolved services; each variable's value is its name, marked."""
    done = compose(tmp_path_factory.mktemp("compose"), {name: f"@{name}@" for name in names()})
    assert done.returncode == 0, done.stderr
    parsed: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    return parsed


def test_all_services_are_there(services: dict[str, Any]) -> None:
    assert set(services) == SERVICES


def test_each_is_checked_limited_and_restarted(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["healthcheck"]["test"], name
        assert service["mem_limit"], name
        assert float(service["cpus"]) <= 2, name
        assert service["restart"] == "unless-stopped", name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name


def test_ports_are_on_loopback_and_of_one_service_each(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    published = [str(port) for port in ports]
    assert published
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+/tcp", port) for port in published), published
    assert len({port.split(":")[1] for port in published}) == len(published)


def test_images_are_pinned(services: dict[str, Any]) -> None:
    for name, service in services.items():
        image = service["image"]
        ours = image in ("@MILLRACE_RUNNER_IMAGE@", "@MILLRACE_SERVICE_IMAGE@")
        assert ours or re.search(r":[^:/]*\d+[.\d-]+\d", image), (name, image)
        assert not image.endswith(":latest"), name


def test_no_secret_is_written_down(services: dict[str, Any]) -> None:
    """What is named like a secret, and the part of a URL that holds one, comes from a variable whole."""
    seen = 0
    for name, service in services.items():
        for key, value in service.get("environment", {}).items():
            for password in re.findall(r"://[^:/@]+:(.+)@[a-z]+/", str(value)):
                seen += 1
                assert re.fullmatch(r"@\w+@", password), (name, key)
            if SECRET.search(key) and NOT_SECRET.get(key) != value:
                seen += 1
                assert re.fullmatch(r"@\w+@", str(value)), (name, key)
    assert seen >= 16


def test_no_variable_has_a_default(tmp_path: Path) -> None:
    text = (COMPOSE / "staging.yaml").read_text()
    asked = re.findall(r"\$\{(\w+):?\?\}", text)
    assert set(asked) == set(names())
    assert len(asked) == len(re.findall(r"(?<!\$)\$(?!\$)", text))
    unfilled = compose(tmp_path, dict.fromkeys(names(), ""))
    assert unfilled.returncode != 0
    assert "Missing mandatory value" in unfilled.stderr


def test_mounted_files_exist_and_cannot_be_written(services: dict[str, Any]) -> None:
    mounted = [
        v for service in services.values() for v in service["volumes"] if str(v).startswith(("/", "."))
    ]
    assert len(mounted) == 9
    for volume in mounted:
        source, _, mode = volume.split(":")
        assert Path(source).exists(), volume
        assert mode == "ro", volume


def test_the_scheduler_can_start_with_its_file_and_has_time_to_stop(services: dict[str, Any]) -> None:
    service = services["scheduler"]
    assert service["entrypoint"] == [".venv/bin/python", "-m", "scheduler"]
    arguments = command_line().parse_args(service["command"])
    assert (arguments.action, arguments.port) == ("start", 3002)
    settings = read_schedules(COMPOSE / "schedules.yaml")
    assert {settings.alerts.stack, *(one.stack for one in settings.schedules.values())} == {"staging"}
    assert service["stop_grace_period"] == "60s"
    assert settings.stop_seconds < 60


def test_each_waits_until_what_it_needs_is_healthy(services: dict[str, Any]) -> None:
    needs = {
        name: {other: how["condition"] for other, how in service.get("depends_on", {}).items()}
        for name, service in services.items()
    }
    assert set(needs["mlflow"]) == {"s3", "postgresql"}
    assert set(needs["zenml"]) == {"mariadb"}
    assert {how for conditions in needs.values() for how in conditions.values()} == {"service_healthy"}
