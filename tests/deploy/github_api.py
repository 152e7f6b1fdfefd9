"""A server that has what is used of GitHub's API: the issues of a repository, the comments of one of them."""

import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from deploy.workflows.github import AUTHOR

# The token that it takes.
SESAME = "sesame"


class GitHub(ThreadingHTTPServer):
    """Issues and comments by their paths, and what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.entries: dict[str, list[dict[str, Any]]] = {"issues": [], "issues/7/comments": []}
        self.asked: list[str] = []

    def add(self, path: str, body: str | None, login: str | None = AUTHOR, state: str = "open") -> int:
        """A comment or issue that is there; returns its number."""
        number = 100 + sum(len(entries) for entries in self.entries.values())
        user = {"login": login} if login else None
        entry = {"id": number, "number": number, "body": body, "user": user, "state": state}
        self.entries[path].append(entry)
        return number

    def bodies(self, path: str) -> list[str]:
        """The texts under a path."""
        return [entry["body"] for entry in self.entries[path]]


class Handler(BaseHTTPRequestHandler):
    """GET of a list by pages, POST of an entry, PATCH of one."""

    server: GitHub

    def do_GET(self) -> None:
        path, page = self._asked()
        entries = [entry for entry in self.server.entries[path] if entry["state"] == "open"]
        self._answer(200, entries[(page - 1) * 100 : page * 100])

    def do_POST(self) -> None:
        path, _ = self._asked()
        content = self._content()
        number = self.server.add(path, content["body"])
        self.server.entries[path][-1] |= content
        self._answer(201, {"html_url": f"new {number}"})

    def do_PATCH(self) -> None:
        path, _ = self._asked()
        number = int(path.rpartition("/")[2])
        listed = "issues/7/comments" if "comments" in path else "issues"
        (entry,) = (entry for entry in self.server.entries[listed] if entry["id"] == number)
        entry |= self._content()
        self._answer(200, {"html_url": f"again {number}"})

    def _asked(self) -> tuple[str, int]:
        self.server.asked.append(f"{self.command} {self.path}")
        found = re.fullmatch(r"/repos/our/house/([\w/]+)(?:\?per_page=100&page=(\d+))?", self.path)
        assert found
        assert self.headers["X-GitHub-Api-Version"]
        return found[1], int(found[2] or 1)

    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        return content

    def _answer(self, status: int, content: Any) -> None:
        if self.headers["Authorization"] != f"Bearer {SESAME}":
            status, content = 403, {"message": "Resource not accessible by integration"}
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""
