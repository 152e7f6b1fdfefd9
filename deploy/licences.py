"""docs/licences.md: what the libraries of the runtime are licensed under, and that we may use them so.

`python -m deploy.licences` writes it; with `--check` it says whether it is current. Either ends with 1 where a
licence is none of `ALLOWED`.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "licences.md"
LOCK = ROOT / "requirements" / "run.txt"
# Licences that ask for no more than to be named; of weak copyleft those that end at the library's own files, which
# are not changed here (MPL, LGPL).
ALLOWED = (
    *(
        "0BSD",
        "Apache-2.0",
        "BSD",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSD-3-Clause-Clear",
        "CC0-1.0",
        "CNRI-Python",
    ),
    *("ISC", "LGPL-3.0-only", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "TCL", "ZPL-2.1", "Zlib"),
    *("Apache-2.0 WITH LLVM-exception",),
)
# What packages say in other words.
SPELLINGS = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "Zope Public License": "ZPL-2.1",
}
# Packages whose metadata say nothing, or not all, or something that is to be argued: the licence, and why.
KNOWN = {
    "asyncssh": ("EPL-2.0 OR GPL-2.0-or-later", "DVC's, for tables behind SSH; used as it is, under the EPL"),
    "grandalf": (
        "EPL-1.0 OR GPL-2.0-only",
        "DVC's, for drawing; its metadata name the GPL alone; under the EPL",
    ),
    "huey": ("MIT", "MLflow's; only its file LICENSE says so"),
    "pygit2": (
        "GPL-2.0-only WITH GCC-exception-2.0",
        "DVC's; what is linked with it stays under its own licence",
    ),
    "skops": ("MIT", "only its file LICENSE says so"),
}
HEAD = """# Licences

The libraries that `requirements/run.txt` locks, and so all that is in the images of runner and service beside Debian
and Python, with the licences that their own metadata name. Written by `make licences`; `make lint` fails where this
page is not current, or a licence is not one of those that `deploy/licences.py` allows.

| library | version | licence |
|---|---|---|
"""


def licences() -> list[tuple[str, str, str]]:
    """Name, version and licence of every library of the lock, as installed here."""
    names = re.findall(r"^([\w.-]+)==", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    command = [ROOT / ".venv/tools/bin/pip-licenses", f"--python={sys.executable}", "--from=mixed"]
    command += ["--format=json", "--with-system", "--packages", *names]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = [(about["Name"], about["Version"], about["License"]) for about in json.loads(done.stdout)]
    return sorted((name, version, _licence(name, text)) for name, version, text in found)


def forbidden(licence: str) -> bool:
    """Whether none of the ways in which a licence may be chosen is allowed."""
    return not any(
        all(part.strip(" ()") in ALLOWED for part in choice.split(" AND "))
        for choice in licence.split(" OR ")
    )


def page(found: list[tuple[str, str, str]]) -> str:
    """The page, as Markdown."""
    rows = "".join(f"| {name} | {version} | {licence} |\n" for name, version, licence in found)
    argued = "".join(f"| {name} | {licence} | {why} |\n" for name, (licence, why) in sorted(KNOWN.items()))
    return f"{HEAD}{rows}\n## Looked at by hand\n\n| library | licence | |\n|---|---|---|\n{argued}"


def _licence(name: str, text: str) -> str:
    if name in KNOWN:
        return KNOWN[name][0]
    # Some give the whole text; several classifiers are read as all of them.
    first = text.strip().partition("\n")[0]
    return " AND ".join(SPELLINGS.get(part, part) for part in first.split("; "))


def main(arguments: list[str]) -> int:
    """Write the page, or with `--check` compare; 1 if anything is wrong."""
    found = licences()
    refused = [item for item in found if item[0] not in KNOWN and forbidden(item[2])]
    for name, version, licence in refused:
        print(f"{name} {version}: its licence, '{licence}', is none that deploy/licences.py allows.")
    if "--check" not in arguments:
        PAGE.write_text(page(found), encoding="utf-8")
    elif page(found) != PAGE.read_text(encoding="utf-8"):
        print("docs/licences.md is not current; run: make licences")
        return 1
    return bool(refused)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
