"""docs/licences.md: what the libraries in the images are licensed under, and that we may use them so.

`python -m deploy.licences` writes it; with `--check` it says whether it is current. Either ends with 1 where
a licence is none of `ALLOWED`, and is not argued in `KNOWN`.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from license_expression import Licensing

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "licences.md"
LOCKS = tuple(ROOT / "requirements" / f"{name}.txt" for name in ("bootstrap", "run"))
# Those that ask for no more than to be named, and those whose copyleft ends at the library's own files, of
# which none is changed here (LGPL, MPL).
ALLOWED = {
    *("0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD", "BSD-2-Clause", "BSD-3-Clause"),
    *("BSD-3-Clause-Clear", "CC0-1.0", "CNRI-Python", "ISC", "LGPL-3.0-only", "MIT", "MIT-0", "MIT-CMU"),
    *("MPL-2.0", "PSF-2.0", "TCL", "ZPL-2.1", "Zlib"),
}
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
# Of packages whose metadata say nothing, or not all, or what has to be argued: the licence, and the argument.
KNOWN = {
    "asyncssh": ("EPL-2.0 OR GPL-2.0-or-later", "DVC's, for tables behind SSH; under the EPL, unchanged"),
    "grandalf": ("EPL-1.0 OR GPL-2.0-only", "DVC's, for drawing; under the EPL, unchanged"),
    "huey": ("MIT", "MLflow's; the file LICENSE in it says so"),
    "pygit2": ("GPL-2.0-only WITH GCC-exception-2.0", "DVC's; what is linked with it keeps its licence"),
    "skops": ("MIT", "the file LICENSE in it says so"),
}
HEAD = """# Licences

The libraries that `requirements/run.txt` and `bootstrap.txt` lock, which are those of the runner's image; those of the
service's are some of them. The licences are what the packages' own metadata name. `make licences` writes this page;
`make lint` fails where it is not current, or where a licence is neither allowed by `deploy/licences.py` nor argued below.

| library | version | licence |
|---|---|---|
"""  # noqa: E501


class Library(NamedTuple):
    """An installed library."""

    name: str
    version: str
    licence: str


def libraries() -> list[Library]:
    """Those of the locks, as they are installed here."""
    names = [name for lock in LOCKS for name in re.findall(r"^([\w.-]+)==", lock.read_text(), re.MULTILINE)]
    command = [ROOT / ".venv/tools/bin/pip-licenses", f"--python={sys.executable}", "--from=mixed"]
    command += ["--format=json", "--with-system", "--packages", *names]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = [(about["Name"], about["Version"], about["License"]) for about in json.loads(done.stdout)]
    return sorted(Library(name, version, _licence(name, text)) for name, version, text in found)


def is_allowed(licence: str) -> bool:
    """Whether a licence, or one of those that may be chosen, is allowed."""
    licensing = Licensing()

    def judge(part: Any) -> bool:
        if isinstance(part, licensing.OR):
            return any(map(judge, part.args))
        if isinstance(part, licensing.AND):
            return all(map(judge, part.args))
        return part.render() in ALLOWED

    return judge(licensing.parse(licence))


def page(found: list[Library]) -> str:
    """The page, as Markdown."""
    rows = "".join(f"| {name} | {version} | {licence} |\n" for name, version, licence in found)
    argued = "".join(f"| {name} | {licence} | {why} |\n" for name, (licence, why) in sorted(KNOWN.items()))
    return f"{HEAD}{rows}\n## Argued\n\n| library | licence | why it may be used |\n|---|---|---|\n{argued}"


def _licence(name: str, text: str) -> str:
    if name in KNOWN:
        return KNOWN[name][0]
    # Some give the whole text. Of several names all are taken to hold.
    parts = text.strip().partition("\n")[0].split("; ")
    return " AND ".join(SPELLINGS.get(part, part) for part in parts)


def main(arguments: list[str]) -> int:
    """Write the page, or compare it; 1 if something is wrong."""
    found = libraries()
    refused = [one for one in found if one.name not in KNOWN and not is_allowed(one.licence)]
    for name, version, licence in refused:
        print(f"{name} {version}: '{licence}' is neither allowed nor argued in deploy/licences.py")
    if "--check" not in arguments:
        PAGE.write_text(page(found), encoding="utf-8")
    elif page(found) != PAGE.read_text(encoding="utf-8"):
        print("docs/licences.md is not current; run: make licences")
        return 1
    return bool(refused)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
