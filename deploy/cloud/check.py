"""python -m deploy.cloud.check: is deploy/terraform formatted, valid, and does it pass its tests?

Nothing in the cloud is asked. Modules are validated as parts of the environments.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from deploy.cloud.terraform import Terraform
from millrace.errors import UserError

# Its provider, Google's, may be out of reach where the other is a file.
GOOGLE = "modules/cloud_run"


def main() -> int:
    """Check all. Returns 0; 2 if something is at fault."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            for line in check(Terraform(Path(folder))):
                print(line, flush=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def check(terraform: Terraform) -> Iterator[str]:
    """Check all, and tell what was found good.

    Raises:
        UserError: the first fault.
    """
    terraform.run(".", "fmt", "-check", "-recursive", "-diff")
    yield "formatted: all"
    root = terraform.root
    environments = sorted(path for path in (root / "environments").iterdir())
    tested = sorted(path.parent for path in root.glob("*/*/tests"))
    for path in [*environments, *(path for path in tested if path not in environments)]:
        where = str(path.relative_to(root))
        _init(terraform, where)
        terraform.run(where, "validate", "-no-color")
        yield f"valid: {where}"
        if path in tested:
            yield f"tested: {where}: {terraform.run(where, 'test', '-no-color').splitlines()[-1]}"
    try:
        _init(terraform, GOOGLE)
    except UserError:
        yield f"not validated: {GOOGLE}, for its provider cannot be had here"
        return
    terraform.run(GOOGLE, "validate", "-no-color")
    yield f"valid: {GOOGLE}"


def _init(terraform: Terraform, where: str) -> None:
    terraform.run(where, "init", "-backend=false", "-input=false", "-no-color")


if __name__ == "__main__":
    sys.exit(main())
