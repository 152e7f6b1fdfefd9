"""deploy/terraform as `make terraform-test` looks at it, and that this look finds what is wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.cloud.check import check
from deploy.cloud.terraform import SOURCE, Terraform
from millrace.errors import UserError
from tests.conftest import ROOT
from tests.deploy.clouds import needs_terraform


@pytest.fixture
def terraform(tmp_path: Path) -> Terraform:
    needs_terraform()
    return Terraform(tmp_path)


def test_all_is_formatted_valid_and_passes_its_tests(terraform: Terraform) -> None:
    found = list(check(terraform))
    assert found[0] == "formatted: all"
    folders = {str(path.parent.relative_to(SOURCE)) for path in SOURCE.glob("*/*/tests")}
    tested = {line.split(": ")[1]: line.split(": ")[2] for line in found if line.startswith("tested")}
    assert set(tested) == folders
    assert all(said.startswith("Success! ") and said.endswith(" 0 failed.") for said in tested.values())
    assert {f"valid: environments/{name}" for name in ("production", "staging")} <= set(found)
    # Nothing was written beside the sources.
    assert not list(SOURCE.rglob(".terraform*"))


def test_faults_are_found(terraform: Terraform) -> None:
    file = terraform.root / "modules" / "network" / "outputs.tf"
    good = file.read_text()
    file.write_text(good.replace("  value ", "    value "))
    with pytest.raises(UserError, match=r"(?s)terraform fmt .*modules/network/outputs\.tf"):
        next(check(terraform))
    file.write_text(good.replace("aws_vpc.this.id", "aws_vpc.that.id"))
    with pytest.raises(UserError, match="Reference to undeclared resource"):
        list(check(terraform))


@pytest.mark.parametrize("module", ["check", "variables"])
def test_without_terraform(module: str, tmp_path: Path) -> None:
    arguments = ["staging"] if module == "variables" else []
    done = subprocess.run(
        [sys.executable, "-m", f"deploy.cloud.{module}", *arguments],
        cwd=ROOT,
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: terraform is not on the PATH: install Terraform 1.11 or newer.\n"


def test_modules_say_nothing_of_where_they_are_tried() -> None:
    text = "".join(path.read_text() for path in SOURCE.rglob("*.tf"))
    for word in ("endpoints {", "skip_", "access_key", "127.0.0.1", "localhost"):
        assert word not in text.replace("skip_final_snapshot", "")
