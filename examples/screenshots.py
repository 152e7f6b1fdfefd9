"""Pictures of a running service's page, into docs/images: `python -m examples.screenshots [ADDRESS]`.

`make serve` starts the service; the pictures in docs/ are of the problem `housing_sample`.
"""

import csv
import io
import shutil
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

FOLDER = Path(__file__).parent.parent / "docs" / "images"
DESK, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
ROWS = 8


def main(address: str = "http://127.0.0.1:3000") -> None:
    browsers = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=next(browsers, None), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        page = opened(browser, address, DESK, "light")
        save(page, "page-form")
        # A slider that is moved, so that the picture is of another row than the first.
        page.get_by_role("slider").nth(1).press("PageDown")
        page.wait_for_timeout(1000)
        save(page.locator("#answer"), "page-waterfall")
        page.get_by_label("Paste rows").fill(rows(page.request.get(f"{address}/v1/form").json()["fields"]))
        page.get_by_role("button", name="Score these rows").click()
        page.wait_for_selector("#scored table")
        page.get_by_label("Paste rows").evaluate("one => one.scrollTo(0, 0)")
        page.evaluate("location.hash = 'file'")
        page.wait_for_timeout(1000)
        save(page, "page-csv")
        save(opened(browser, address, DESK, "dark"), "page-dark")
        phone = opened(browser, address, PHONE, "light")
        phone.locator("#row").scroll_into_view_if_needed()
        phone.wait_for_timeout(500)
        save(phone, "page-phone")
        manual = browser.new_page(viewport=DESK, color_scheme="light")
        manual.goto(f"{address}/docs")
        manual.locator(".route summary").first.click()
        save(manual, "page-docs")


def opened(browser: Browser, address: str, size: Any, scheme: Any) -> Page:
    """The page, with its first prediction explained."""
    page = browser.new_page(viewport=size, color_scheme=scheme)
    page.goto(address)
    page.wait_for_selector(".waterfall tr:last-child")
    # Until bars have stopped.
    page.wait_for_timeout(1000)
    return page


def save(shown: Any, name: str) -> None:
    """Take a picture of a page, or of a part of it."""
    shown.screenshot(path=FOLDER / f"{name}.png")
    print(FOLDER / f"{name}.png")


def rows(fields: list[dict[str, Any]]) -> str:
    """Rows as CSV, along the way from the low to the high end of what is common."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([field["name"] for field in fields])
    writer.writerows([_value(field, step / (ROWS - 1)) for field in fields] for step in range(ROWS))
    return out.getvalue()


def _value(field: dict[str, Any], share: float) -> Any:
    if field["categories"]:
        return field["categories"][int(share * (len(field["categories"]) - 1))]
    if not field["common"]:
        return field["example"]
    low, high = field["common"]
    value = low + share * (high - low)
    return round(value) if field["type"] == "integer" else float(f"{value:.4g}")


if __name__ == "__main__":
    main(*sys.argv[1:])
