"""The site of the pages: built as `make docs` does, and opened in a browser that is to ask nobody else."""

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.conftest import ROOT

TOOLS = ROOT / ".venv" / "tools" / "bin"
PHONE, DESK = {"width": 360, "height": 740}, {"width": 1360, "height": 900}
# What a browser fetches by itself: a link that somebody may follow is none.
FETCHED = re.compile(r"""<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=["']?((?:https?:)?//[^"'\s>]+)""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [TOOLS / "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def url(site: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
    assert found, "These tests need a browser: sudo apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing of it."""

    def log_message(self, *_: Any) -> None:
        pass


def navigation() -> list[str]:
    """The pages of mkdocs.yml, in their order; its one tag is no matter here."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("tag:yaml.org,2002:python", lambda *_: None)
    nav = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)["nav"]

    def pages(entry: Any) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        entries = entry.values() if isinstance(entry, dict) else entry
        return [page for inner in entries for page in pages(inner)]

    return pages(nav)


def test_every_page_stands_in_the_navigation_once() -> None:
    docs = ROOT / "docs"
    written = {str(path.relative_to(docs)) for path in docs.rglob("*.md")}
    named = navigation()
    assert sorted(named) == sorted(set(named))
    assert written <= set(named), "add them to nav in mkdocs.yml"


def test_no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    assert {str(page): found for page in pages if (found := FETCHED.findall(page.read_text()))} == {}


def test_the_pages_of_the_root_are_there_and_links_to_sources_are_not(site: Path) -> None:
    assert "import-linter" in (site / "CONTRIBUTING.html").read_text()
    for page in site.rglob("*.html"):
        assert 'href="../' not in page.read_text(), page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_pages_open_without_the_web_and_fit_the_screen(
    url: str, browser: Browser, size: Any, scheme: Any
) -> None:
    with opened(browser, viewport=size, color_scheme=scheme) as (page, asked, errors):
        for name in ("index", "tutorial", "architecture", "alerts", "training"):
            page.goto(f"{url}/{name}.html")
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name
    assert [address for address in asked if not address.startswith((url, "data:", "blob:"))] == []
    assert errors == []


def test_the_search_finds_what_is_on_a_page(url: str, browser: Browser) -> None:
    with opened(browser, viewport=DESK) as (page, asked, errors):
        page.goto(f"{url}/index.html")
        # The page searches at each key, and once more when its worker has read the index.
        page.get_by_role("textbox", name="Search").press_sequentially("quarantine")
        expect(page.locator(".md-search-result__link").first).to_be_visible(timeout=60_000)
    assert [address for address in asked if not address.startswith((url, "data:", "blob:"))] == []
    assert errors == []


@contextmanager
def opened(browser: Browser, **options: Any) -> Iterator[tuple[Page, list[str], list[str]]]:
    """A page, the addresses that it asks, and the errors of its scripts."""
    context = browser.new_context(**options)
    page = context.new_page()
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page, asked, errors
    context.close()
