"""What MkDocs is told besides mkdocs.yml: pages from the repository's root, and links to what is no page."""

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent.parent
# Pages that stand in the root, where people and GitHub look for them.
FROM_ROOT = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root to those of docs/."""
    for name in FROM_ROOT:
        text = (ROOT / name).read_text(encoding="utf-8")
        # As seen from docs/, as the links of all other pages are.
        moved = LINK.sub(lambda link: f"{link[1]}[{link[2]}]({_from_docs(link[3])})", text)
        files.append(File.generated(config, name, content=moved))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links to sources, which the site has not, be the names of what they point to."""
    return LINK.sub(_within_site, markdown)


def _from_docs(target: str) -> str:
    if "://" in target or target.startswith("#"):
        return target
    return target.removeprefix("docs/") if target.startswith("docs/") else f"../{target}"


def _within_site(link: re.Match[str]) -> str:
    _, text, target = link.groups()
    if not target.startswith("../"):
        return link[0]
    path = target.removeprefix("../")
    name = path.partition("#")[0]
    if name in FROM_ROOT:
        return f"[{text}]({path})"
    if not (ROOT / name).exists():
        # Left as it is, for MkDocs to complain of.
        return link[0]
    return f"`{name}`" if text.strip("`") == name else f"{text} (`{name}`)"
