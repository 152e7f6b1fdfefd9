"""The image of a Bento: built by deploy/image.sh, pushed to where a target finds it.

By docker, or by what the variable BUILDER names, podman or buildah; BUILD_OPTIONS are further options of the
build.
"""

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from millrace.errors import UserError
from stacks.environment import ROOT

# Lines of a failed command that are shown.
SHOWN = 10


def named(bento: str, variant: str | None) -> str:
    """What the image of a Bento is called: as the Bento, or NAME-VARIANT:TAG.

    The tag is made of the digests of model and code, so that the name cannot come to mean another image.
    """
    name, _, tag = bento.partition(":")
    return f"{name}-{variant}:{tag}" if variant else bento


def build(bento: str, variant: str | None = None) -> str:
    """Build the image of a Bento of this machine's store; returns its name.

    A variant is the usual image and what deploy/VARIANT.Dockerfile adds.

    Raises:
        UserError: no builder, or it failed; with the end of what it said.
    """
    _run("bash", "deploy/image.sh", bento, *_options())
    name = named(bento, variant)
    if variant:
        _run(
            *(_builder(), "build", "--file", f"deploy/{variant}.Dockerfile", "--tag", name),
            *("--build-arg", f"SERVICE={bento}", *_options(), "deploy"),
        )
    return name


def push(image: str, registry: str) -> str:
    """Push an image to a registry; returns its name there, by digest.

    Raises:
        UserError: the registry does not take it.
    """
    name = f"{registry}/{image}"
    repository = name.rpartition(":")[0]
    if _builder() == "docker":
        _run("docker", "tag", image, name)
        _run("docker", "push", "--quiet", name)
        digests = _run("docker", "image", "inspect", "--format", '{{join .RepoDigests "\\n"}}', name)
        found = [line for line in digests.splitlines() if line.startswith(f"{repository}@")]
        if not found:
            raise UserError(f"docker does not say which digest {name} has at {registry}.")
        return found[0]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "digest"
        _run(_builder(), "push", "--quiet", "--digestfile", str(file), image, f"docker://{name}")
        return f"{repository}@{file.read_text(encoding='utf-8').strip()}"


def _options() -> list[str]:
    return shlex.split(os.environ.get("BUILD_OPTIONS", ""))


def _builder() -> str:
    return os.environ.get("BUILDER", "docker")


def _run(*command: str) -> str:
    builder = _builder()
    if shutil.which(builder) is None:
        raise UserError(
            f"Images are built by '{builder}', which is not here; set BUILDER to docker, podman or buildah."
        )
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-SHOWN:])
        raise UserError(f"{' '.join(command[:3])} failed:\n{said}")
    return done.stdout
