"""Self-contained HTML pages from the templates beside this file: no script, nothing loaded."""

import base64
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def render(template: str, **context: Any) -> str:
    """Fill `templates/<template>.html`; PNG bytes go in through the `png` filter."""
    return _environment().get_template(f"{template}.html").render(**context)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["png"] = lambda data: "data:image/png;base64," + base64.b64encode(data).decode()
    return environment
