"""A champion's image, as a release pushes it. A program stands in for Docker; images: test_image.py."""

from pathlib import Path

import pytest

from tests.conftest import Home

DIGEST = f"sha256:{'a' * 64}"
BUILDER = """#!/bin/bash
echo "$*" >>"{folder}/told"
while [ $# -gt 1 ]; do
    [ "$1" != --digestfile ] || printf {digest} >"$2"
    shift
done
"""


@pytest.fixture
def publish(home: Home, tmp_path: Path) -> "Publisher":
    """The program, with a builder of our own."""
    return Publisher(home, tmp_path)


class Publisher:
    """Publishes the champion of iris of the stack `local`."""

    def __init__(self, home: Home, folder: Path) -> None:
        builder = folder / "builder"
        builder.write_text(BUILDER.format(folder=folder, digest=DIGEST))
        builder.chmod(0o755)
        self.told = folder / "told"
        self._file = folder / "image.txt"
        self._home = Home(home.path, {**home.environment, "BUILDER": str(builder)})

    def set(self, name: str, value: str) -> None:
        """Give the program a variable."""
        self._home.environment[name] = value

    def run(self, registry: str, problem: str = "iris", target: str = "compose") -> tuple[int | None, str]:
        """The exit code, and what was written or said instead."""
        command = ("-m", "steps.publish", "local", problem, target, registry, str(self._file))
        process = self._home.python(*command)
        _, err = process.communicate(timeout=240)
        return process.returncode, self._file.read_text() if process.returncode == 0 else err


def test_a_champion_is_built_pushed_and_named_by_its_digest(publish: Publisher) -> None:
    name = "registry.example/ours/iris"
    expected = f"image={name}@{DIGEST}\nname={name}\ndigest={DIGEST}\n"
    assert publish.run("registry.example/ours") == (0, expected)
    built, pushed = publish.told.read_text().splitlines()
    assert built.startswith("build --file deploy/service.Dockerfile ")
    tag = built.partition("--tag ")[2].split()[0]
    assert tag.startswith("iris:")
    assert pushed.split()[-2:] == [tag, f"docker://registry.example/ours/{tag}"]


def test_for_lambda_it_has_the_adapter(publish: Publisher) -> None:
    for name in ("REGION", "NAME", "REGISTRY"):
        publish.set(f"MILLRACE_LAMBDA_{name}", "anything")
    name = "registry.example/ours/iris-lambda"
    assert publish.run("registry.example/ours", target="lambda")[1].startswith(f"image={name}@{DIGEST}\n")
    service, varied, pushed = publish.told.read_text().splitlines()
    tag = service.partition("--tag ")[2].split()[0]
    assert varied.startswith("build --file deploy/lambda.Dockerfile ")
    assert f"--build-arg SERVICE={tag} " in varied
    assert pushed.endswith(f"docker://registry.example/ours/{tag.replace('iris:', 'iris-lambda:')}")


def test_on_docker_hub_an_image_is_attested_by_its_whole_name(publish: Publisher) -> None:
    code, lines = publish.run("ours")
    assert code == 0
    assert lines.splitlines()[:2] == [f"image=ours/iris@{DIGEST}", "name=index.docker.io/ours/iris"]


def test_without_a_champion_there_is_no_image(publish: Publisher) -> None:
    code, said = publish.run("registry.example/ours", problem="flats")
    assert code == 2
    assert said.splitlines()[-1].startswith("error: The registry of stack 'local' has no champion of 'flats'")
    assert not publish.told.exists()
