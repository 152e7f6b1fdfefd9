"""The page of the service and its documentation, as static files.

The files ask the service under `v1/` for all they show, and for nothing elsewhere. Paths in them are
relative, so that a proxy may serve the whole under a prefix.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "page"
PAGES = {"/": "index.html", "/docs": "docs.html"}
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# What stands in the documents for the folder of the files they load.
PLACE = "{static}"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


class File(NamedTuple):
    """What a GET of `path` is answered with; `headers` hold all but the length."""

    path: str
    content: bytes
    headers: dict[str, str]


@cache
def page_files() -> tuple[File, ...]:
    """Every file of the page.

    Scripts and styles lie in a folder named by the digest of them all, so that browsers may keep them for
    good; the documents, which name that folder, are asked for each time.
    """
    loaded = sorted(path for path in FOLDER.iterdir() if path.suffix != ".html")
    folder = f"static/{_digest(loaded)}"
    kept = {"Cache-Control": "public, max-age=31536000, immutable"}
    documents = [
        File(path, _document(FOLDER / name, folder), _headers(".html") | {"Cache-Control": "no-cache"})
        for path, name in PAGES.items()
    ]
    files = [
        File(f"/{folder}/{path.name}", path.read_bytes(), _headers(path.suffix) | kept) for path in loaded
    ]
    return (*documents, *files)


def _digest(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _document(path: Path, folder: str) -> bytes:
    return path.read_text(encoding="utf-8").replace(PLACE, folder).encode()


def _headers(suffix: str) -> dict[str, str]:
    return {
        "Content-Type": f"{TYPES[suffix]}; charset=utf-8",
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
