"""A comment on a pull request, or an issue, that is written anew where it stands instead of once more.

    python3 -m deploy.workflows.github comment NUMBER FILE.md...
    python3 -m deploy.workflows.github issue FILE.md...

A file's first line is its mark: an HTML comment, by which the one written before is found; its second is a
heading, an issue's title. Empty files are passed over. Where, and with whose rights, is told by variables as
GitHub Actions sets them: GITHUB_API_URL, GITHUB_REPOSITORY, GITHUB_TOKEN. Plain Python without packages: the
job that may write needs nothing else, and installs nothing.
"""

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

PAGE = 100
MARKED = re.compile(r"<!-- .+ -->\n#+ .+\n")
# Whose comments and issues are ours: GITHUB_TOKEN's. Others may have copied the mark.
AUTHOR = "github-actions[bot]"


def comment(number: int, body: str) -> str:
    """Write the comment on a pull request; returns its address."""
    return _write(f"issues/{number}/comments", "issues/comments/{id}", {"body": body})


def issue(body: str) -> str:
    """Write the issue, a new one if those with the mark are closed; returns its address."""
    title = body.splitlines()[1].lstrip("# ")
    return _write("issues", "issues/{number}", {"title": title, "body": body})


def _write(listed: str, one: str, content: dict[str, str]) -> str:
    mark = content["body"].partition("\n")[0]
    for known in _all(listed):
        first = (known["body"] or "").partition("\n")[0].strip()
        if first == mark and (known["user"] or {}).get("login") == AUTHOR:
            return str(_ask("PATCH", one.format(**known), content)["html_url"])
    return str(_ask("POST", listed, content)["html_url"])


def _all(listed: str) -> Iterator[dict[str, Any]]:
    """All entries of a list; of issues the open ones."""
    page = 1
    while entries := _ask("GET", f"{listed}?per_page={PAGE}&page={page}"):
        yield from entries
        page += 1


def _ask(method: str, path: str, content: dict[str, str] | None = None) -> Any:
    request = Request(
        f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/{path}",
        method=method,
        data=json.dumps(content).encode() if content else None,
        headers={
            "Authorization": f"Bearer {os.environ['GITHUB_TOKEN']}",
            "Accept": "application/vnd.github+json",
            "Content-Type": "application/json",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)


def main(kind: str, *about: str) -> int:
    """Write what is in the files; returns the exit code."""
    paths = about[1:] if kind == "comment" else about
    for path in paths:
        body = Path(path).read_text(encoding="utf-8")
        if not body:
            continue
        if not MARKED.match(body):
            print(f"error: {path}: does not begin with a mark and a heading.", file=sys.stderr)
            return 2
        try:
            print(comment(int(about[0]), body) if kind == "comment" else issue(body))
        except HTTPError as error:
            answer = error.read().decode(errors="replace")
            print(f"error: GitHub answers {error.code}: {answer}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
