"""Pages from the templates beside this file: self-contained HTML, no script, nothing loaded; and Markdown."""

import base64
import re
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape


def render(template: str, kind: Literal["html", "md"] = "html", **context: Any) -> str:
    """Fill `templates/<template>.<kind>`; PNG bytes go in through the `png` filter.

    Text is escaped in HTML; in Markdown by the `md` filter.
    """
    return _environment().get_template(f"{template}.{kind}").render(**context)


def markdown(text: str) -> str:
    """Text that Markdown shows as it is, on one line: in a paragraph or a cell of a table."""
    line = re.sub(r"([\\`*_{}\[\]<>|#~$&])", r"\\\1", " ".join(text.split()))
    # What would begin a list.
    return re.sub(r"^(\d*)([-+.)])(?= |$)", r"\1\\\2", line)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["png"] = lambda data: "data:image/png;base64," + base64.b64encode(data).decode()
    environment.filters["md"] = markdown
    return environment
