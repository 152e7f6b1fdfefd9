"""Bills of materials and locks, read to be compared."""

import json
import re
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
# Run in a container: a file's content; the libraries that are installed, with their versions.
READ = "import sys; print(open(sys.argv[1]).read())"
INSTALLED = """
import json
from importlib.metadata import distributions
print(json.dumps({about.name: about.version for about in distributions()}))
"""


def materials(bill: str) -> dict[str, str]:
    """The version of each library that a bill names, by its canonical name; the bill must be valid."""
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill) is None
    components = json.loads(bill)["components"]
    for component in components:
        assert component["purl"] == f"pkg:pypi/{canonicalize_name(component['name'])}@{component['version']}"
        # As many as the index has files; one of them is that of what was installed.
        (reference,) = component["externalReferences"]
        assert reference["hashes"]
        assert {found["alg"] for found in reference["hashes"]} == {"SHA-256"}
    return {canonicalize_name(component["name"]): component["version"] for component in components}


def locked(*names: str) -> dict[str, str]:
    """The version of each library that locks name, by its canonical name."""
    texts = [(ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8") for name in names]
    found = [pair for text in texts for pair in re.findall(r"^([\w.-]+)==([^\s\\;]+)", text, re.MULTILINE)]
    return {str(canonicalize_name(name)): version for name, version in found}
