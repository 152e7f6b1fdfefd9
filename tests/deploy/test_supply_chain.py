"""What is delivered is made of: locks, bills of materials, licences, advisories, and that no key is in it."""

import json
import os
import re
import shutil
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.licences import ALLOWED, KNOWN, is_allowed, libraries, page
from tests.materials import locked, materials

ROOT = Path(__file__).parent.parent.parent
LOCKS = ("bootstrap", "dev", "run", "serve", "tools")
FLAWED = "numpy"


class Advisories(BaseHTTPRequestHandler):
    """Knows, in OSV's words, a flaw of `FLAWED` where it is asked as /flawed, and of nothing else."""

    def do_POST(self) -> None:
        """Answer a question about one version of one library."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name, version = asked["package"]["name"], asked["version"]
        package = {"name": name, "ecosystem": "PyPI"}
        flaw = {
            "id": "PYSEC-1",
            "summary": "A flaw.",
            "affected": [{"package": package, "versions": [version]}],
        }
        answer = json.dumps({"vulns": [flaw]} if self.path == "/flawed" and name == FLAWED else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def advisories() -> Iterator[str]:
    """The URL of a service of advisories on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Advisories) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository's files as they are now, in a git repository of its own."""
    folder = tmp_path_factory.mktemp("checkout")
    tracked = command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").stdout.split(
        "\0"
    )
    for name in tracked:
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return folder


def command(*arguments: str, folder: Path = ROOT, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    environment = {**os.environ, **variables}
    return subprocess.run(arguments, cwd=folder, env=environment, text=True, capture_output=True)


def audit(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run `make audit`'s script."""
    return command("bash", "deploy/audit.sh", *arguments, **variables)


def asked(groups: dict[str, list[Any]], name: str) -> list[str]:
    """The requirements of a dependency group and of those that it includes."""
    found = [
        [item] if isinstance(item, str) else asked(groups, item["include-group"]) for item in groups[name]
    ]
    return [text for texts in found for text in texts]


@pytest.mark.parametrize("name", LOCKS)
def test_all_that_is_locked_has_a_version_and_hashes_and_no_host_is_named(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    requirements = re.split(r"\n(?=\S)", text.replace("\\\n", " ").strip())
    assert len(requirements) == len(locked(name))
    for requirement in requirements:
        assert re.fullmatch(r"[\w.-]+==[\w.!+]+( +--hash=sha256:[0-9a-f]{64})+\s*", requirement), requirement


@pytest.mark.parametrize("name", ["serve", "run"])
def test_what_is_shipped_is_what_is_tested(name: str) -> None:
    tested = locked("dev")
    assert {library: tested.get(library) for library in locked(name)} == locked(name)


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_what_its_group_asks_for(name: str) -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    found = locked(name)
    for text in asked(groups, name):
        requirement = Requirement(text)
        assert requirement.specifier.contains(found[canonicalize_name(requirement.name)], prereleases=True)


@pytest.mark.parametrize("locks", [("bootstrap", "run"), ("serve",)])
def test_a_bill_of_materials_names_what_its_locks_do(locks: tuple[str, ...], tmp_path: Path) -> None:
    bill = tmp_path / "new" / "bill.json"
    done = command("bash", "deploy/sbom.sh", str(bill), *(f"requirements/{name}.txt" for name in locks))
    assert (done.returncode, done.stderr) == (0, "")
    assert materials(bill.read_text()) == locked(*locks)


def test_the_same_lock_gives_the_same_bill(tmp_path: Path) -> None:
    bills = [tmp_path / f"{number}.json" for number in range(2)]
    for bill in bills:
        assert command("bash", "deploy/sbom.sh", str(bill), "requirements/bootstrap.txt").returncode == 0
    assert bills[0].read_bytes() == bills[1].read_bytes()


def test_the_page_of_licences_is_current() -> None:
    found = libraries()
    assert {canonicalize_name(one.name): one.version for one in found} == locked("bootstrap", "run")
    assert page(found) == (ROOT / "docs" / "licences.md").read_text()
    assert [one for one in found if not is_allowed(one.licence) and one.name not in KNOWN] == []


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("AGPL-3.0-only", False),
        ("Apache-2.0 OR GPL-2.0-or-later", True),
        ("Apache-2.0 AND GPL-2.0-or-later", False),
        ("GPL-3.0-only AND (Apache-2.0 OR MIT)", False),
        ("MPL-2.0 AND (Apache-2.0 OR GPL-3.0-only)", True),
        ("UNKNOWN", False),
    ],
)
def test_a_licence_is_allowed_if_one_of_its_choices_is(licence: str, allowed: bool) -> None:
    assert is_allowed(licence) is allowed


def test_no_strong_copyleft_is_allowed_without_an_argument() -> None:
    assert [name for name in ALLOWED if name.startswith(("GPL", "AGPL", "SSPL"))] == []


def test_what_no_flaw_is_known_of_passes_and_what_has_one_is_named(advisories: str) -> None:
    options = ("--vulnerability-service", "osv", "--osv-url")
    passed = audit(*options, advisories)
    assert passed.returncode == 0, passed.stderr
    assert [line.partition(":")[0] for line in passed.stdout.splitlines()] == [
        f"requirements/{name}.txt" for name in LOCKS
    ]
    failed = audit(*options, f"{advisories}/flawed")
    assert failed.returncode == 1
    assert f"{FLAWED}" in failed.stdout
    assert "PYSEC-1" in failed.stdout


def test_an_audit_that_cannot_ask_has_not_passed() -> None:
    nowhere = "http://127.0.0.1:9"
    done = audit(HTTPS_PROXY=nowhere, https_proxy=nowhere, NO_PROXY="", no_proxy="")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: requirements/bootstrap.txt has not been audited")


def test_no_secret_is_in_the_repository_and_one_that_is_put_there_is_found(checkout: Path) -> None:
    found = command("bash", "deploy/secrets.sh", folder=checkout)
    assert found.returncode == 0, found.stderr
    planted = checkout / "configs" / "notes.yaml"
    # In two parts: this file is looked through, too.
    planted.write_text(f"access: {'AKIA' + 'QYLPMN5HFIQR7BBB'}\n")
    found = command("bash", "deploy/secrets.sh", folder=checkout)
    planted.unlink()
    assert found.returncode == 1
    assert "AWS Access Key" in found.stderr
    assert "configs/notes.yaml:1" in found.stderr


def test_what_the_scan_passes_over_is_argued() -> None:
    """Each entry of the baseline was judged, and its file stands in the table; and nothing else does."""
    results = json.loads((ROOT / "deploy" / "secrets.baseline").read_text())["results"]
    assert {entry["is_secret"] for entries in results.values() for entry in entries} == {False}
    page = (ROOT / "docs" / "security.md").read_text()
    section = page.partition("## What the scan for secrets passes over")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert sorted(name for row in rows for name in re.findall(r"`([\w./-]+)`", row)) == sorted(results)


def test_what_the_threat_model_refers_to_is_there() -> None:
    """Every test and file that docs/security.md names as the place where something is done or shown."""
    page = (ROOT / "docs" / "security.md").read_text()
    tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert tests
    assert [pair for pair in tests if f"def {pair[1]}(" not in (ROOT / pair[0]).read_text()] == []
    files = re.findall(r"`((?:bentos|deploy|millrace|scheduler|stacks|tests)/[\w./]+|Dockerfile)`", page)
    assert [name for name in files if not (ROOT / name).exists()] == []
    links = re.findall(r"\]\((?!https?:)([\w./]+)", page)
    assert [link for link in links if not (ROOT / "docs" / link).is_file()] == []
