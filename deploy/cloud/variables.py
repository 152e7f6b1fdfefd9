"""python -m deploy.cloud.variables staging|production

What Terraform has made, as the variables that configs/stacks/ and configs/targets/ refer to: written to
.millrace/<stack>/environment and .millrace/<target>/environment, which only their owner can read. Secrets go
nowhere else: MLflow's password comes from Secrets Manager, a key of the bucket is made.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from deploy.cloud.terraform import SOURCE
from deploy.staging.settings import write_private
from millrace.errors import UserError
from stacks.environment import ROOT, home
from stacks.variables import read_environment
from targets.aws import Aws

# Of each stack, what somebody else has to tell.
FROM_ELSEWHERE = {
    "staging": ("ZENML_API_KEY",),
    "production": ("ZENML_API_KEY", "KUBERNETES_CONTEXT"),
}


def main() -> int:
    """Write the files. Returns 0; 2 for what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m deploy.cloud.variables")
    parser.add_argument("environment", choices=list(FROM_ELSEWHERE))
    environment = parser.parse_args().environment
    try:
        for line in write_variables(environment, _outputs(environment)):
            print(line)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def write_variables(environment: str, outputs: dict[str, Any]) -> list[str]:
    """Write the files of an environment's outputs; what else they held, stays. Returns what to tell the user.

    Raises:
        UserError: AWS does not give the secrets, or the file belongs to the servers of `make staging`.
    """
    path = _file(environment)
    if (path.parent / "settings.json").exists():
        raise UserError(
            f"{path.parent} has the servers of `make staging`, whose addresses {path.name} is to have. "
            "Set MILLRACE_HOME to another folder."
        )
    stack: dict[str, str] = outputs["stack"]
    prefix = f"MILLRACE_{environment.upper()}_"
    known = read_environment(path)
    values = {**known, **stack, **_secrets(prefix, known, stack, outputs["secrets"])}
    files = {path: values}
    for target, variables in outputs["targets"].items():
        files[_file(target)] = {**read_environment(_file(target)), **variables}
    for file, lines in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_private(file, "".join(f"{name}={value}\n" for name, value in sorted(lines.items())))
    missing = [prefix + name for name in FROM_ELSEWHERE[environment] if prefix + name not in values]
    return [
        *(f"{file}: {len(lines)} variables" for file, lines in files.items()),
        *(f"{path}: {name} is missing; add it (docs/terraform.md)" for name in missing),
    ]


def _secrets(
    prefix: str, known: dict[str, str], stack: dict[str, str], where: dict[str, str | None]
) -> dict[str, str]:
    """MLflow's password, and a key of the bucket unless the known one is still good."""
    aws = Aws(stack[f"{prefix}S3_REGION"])
    found = {}
    if where["password_secret"]:
        secret = aws.call("secretsmanager", "get_secret_value", SecretId=where["password_secret"])
        found[f"{prefix}MLFLOW_PASSWORD"] = secret["SecretString"]
    user = where["pipelines_user"]
    keys = aws.call("iam", "list_access_keys", UserName=user)["AccessKeyMetadata"]
    if known.get(f"{prefix}S3_KEY") not in {key["AccessKeyId"] for key in keys}:
        key = aws.call("iam", "create_access_key", UserName=user)["AccessKey"]
        found |= {f"{prefix}S3_KEY": key["AccessKeyId"], f"{prefix}S3_SECRET": key["SecretAccessKey"]}
    return found


def _file(name: str) -> Path:
    return home() / name / "environment"


def _outputs(environment: str) -> dict[str, Any]:
    """What was applied in deploy/terraform/environments/.

    Raises:
        UserError: nothing was, or there is no Terraform.
    """
    folder = SOURCE / "environments" / environment
    try:
        done = subprocess.run(
            ["terraform", f"-chdir={folder}", "output", "-json"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise UserError("terraform is not on the PATH: install Terraform 1.11 or newer.") from None
    outputs = {name: output["value"] for name, output in json.loads(done.stdout or "{}").items()}
    if "stack" not in outputs:
        raise UserError(
            f"{folder.relative_to(ROOT)} has no outputs: run terraform init and apply there.\n{done.stderr}"
        )
    return outputs


if __name__ == "__main__":
    sys.exit(main())
