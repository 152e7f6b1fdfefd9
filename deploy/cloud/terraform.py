"""Terraform on a copy of deploy/terraform, so that the checkout stays as it is.

The provider is taken from where this machine has it, if it has; else from the registry.
"""

import json
import os
import shutil
import subprocess
from itertools import chain
from pathlib import Path
from typing import Any

from millrace.errors import UserError
from stacks.environment import ROOT

SOURCE = ROOT / "deploy" / "terraform"
PROVIDER = "registry.terraform.io/hashicorp/aws/5.100.0"
# Where Terraform looks by itself, and where people put mirrors.
MIRRORS = (
    *("~/.terraform.d/plugins", "~/.local/share/terraform/plugins"),
    *("/usr/local/share/terraform/plugins", "/usr/share/terraform/plugins"),
)
FROM_MIRROR = """\
provider_installation {{
  filesystem_mirror {{
    path    = "{path}"
    include = ["hashicorp/aws"]
  }}
  direct {{
    exclude = ["hashicorp/aws"]
  }}
}}
"""
FROM_REGISTRY = "provider_installation {\n  direct {}\n}\n"


class Terraform:
    """A copy of deploy/terraform in an empty folder, and Terraform to be run in its folders.

    Raises:
        UserError: there is no Terraform on the PATH.
    """

    def __init__(self, folder: Path) -> None:
        program = shutil.which("terraform")
        if program is None:
            raise UserError("terraform is not on the PATH: install Terraform 1.11 or newer.")
        self._program = program
        self.root = folder / "terraform"
        shutil.copytree(SOURCE, self.root)
        configuration = folder / "terraform.rc"
        mirror = _mirror()
        configuration.write_text(FROM_MIRROR.format(path=mirror) if mirror else FROM_REGISTRY)
        self._environment = {
            **os.environ,
            "TF_CLI_CONFIG_FILE": str(configuration),
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
        }

    def run(self, where: str, *arguments: str) -> str:
        """Run a command in a folder of the copy; what it printed.

        Raises:
            UserError: it failed, with what it said.
        """
        command = [self._program, f"-chdir={self.root / where}", *arguments]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UserError(f"terraform {' '.join(arguments)} in {where}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def outputs(self, where: str) -> dict[str, Any]:
        """The outputs of what was applied in a folder."""
        return {
            name: output["value"] for name, output in json.loads(self.run(where, "output", "-json")).items()
        }


def _mirror() -> Path | None:
    """The folder that has the provider as Terraform's mirrors have it."""
    cache = os.environ.get("TF_PLUGIN_CACHE_DIR")
    places = chain(
        [Path(cache)] if cache else [],
        (Path(place).expanduser() for place in MIRRORS),
        Path("/opt").glob("*"),
    )
    return next((place for place in places if (place / PROVIDER).is_dir()), None)
