"""python -m steps.publish STACK PROBLEM TARGET REGISTRY FILE: the image of a stack's champion, pushed.

It is built as the target runs it. What it is in the registry is written to FILE, in lines of NAME=value as
GitHub Actions reads a step's outputs: `image`, by which it is deployed; `name` and `digest`, by which it is
attested.
"""

import sys
from pathlib import Path

from millrace.errors import UserError
from stacks import environment
from steps.serve import build_champion
from targets import images
from targets.files import TARGETS, load_target_file


def publish(stack: str, problem: str, target: str, registry: str) -> dict[str, str]:
    """Build the champion's Bento, and its image as a target runs it, and push it; returns what FILE says.

    Raises:
        UserError: no champion, no builder, or a registry that does not take it.
    """
    variant = load_target_file(target, TARGETS).variant
    image = images.push(images.build(build_champion(stack, problem), variant), registry)
    name, _, digest = image.partition("@")
    # Without a host a name is one of Docker Hub, which has to be named where there is no Docker to know that.
    host = name.partition("/")[0]
    if "." not in host and ":" not in host:
        name = f"index.docker.io/{name}"
    return {"image": image, "name": name, "digest": digest}


def main(stack: str, problem: str, target: str, registry: str, file: str) -> int:
    """Publish, and write what was published; returns the exit code."""
    environment.prepare()
    try:
        told = publish(stack, problem, target, registry)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    Path(file).write_text("".join(f"{name}={value}\n" for name, value in told.items()), encoding="utf-8")
    print(f"Pushed {told['image']}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
