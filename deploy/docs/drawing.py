"""A graph in layers as SVG, for light and for dark pages: boxes on the left, what they are beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from textwrap import wrap

# Pixels. A letter of the boxes' fixed-width font is 0.602 of its size in most of them; a little more is safe.
LETTER, LINE, PADDING = 7.4, 17, 9
BOXES, GAP, BETWEEN, WIDTH = 250, 26, 14, 880
# What is beside a box goes on in the next line after so many.
LETTERS = 92
STYLE = """
svg{font:12px ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.page{fill:#fff}.box{fill:#eef3f5;stroke:#4d6b78}.always{stroke-dasharray:4 3}
.name{fill:#16262d}.text{fill:#44555c;font-family:system-ui,"Segoe UI",Helvetica,Arial,sans-serif}
.head{fill:#16262d;font-weight:600;font-family:system-ui,"Segoe UI",Helvetica,Arial,sans-serif}
.arrow{stroke:#4d6b78;fill:none}.tip{fill:#4d6b78}
@media (prefers-color-scheme:dark){.page{fill:#1e2129}.box{fill:#2a333b;stroke:#8fb3c1}
.name,.head{fill:#e8eef0}.text{fill:#b3c0c5}.arrow{stroke:#8fb3c1}.tip{fill:#8fb3c1}}
"""


@dataclass(frozen=True)
class Box:
    """Lines in a box, what is said beside it, and the boxes that it comes after, by their first line."""

    lines: tuple[str, ...]
    text: str
    after: tuple[str, ...] = ()
    dashed: bool = False

    @property
    def name(self) -> str:
        """By which others refer to it."""
        return self.lines[0]

    @property
    def width(self) -> float:
        """Pixels."""
        return max(map(len, self.lines)) * LETTER + 2 * PADDING

    @property
    def height(self) -> float:
        """Pixels."""
        return len(self.lines) * LINE + PADDING


def draw(figures: dict[str, Sequence[Sequence[Box]]], note: str = "") -> str:
    """Figures below one another, each under its heading ("" for none): layers of boxes side by side."""
    parts: list[str] = []
    y = 12.0
    for heading, layers in figures.items():
        if heading:
            parts.append(_text(12, y + 14, heading, "head"))
            y += 30
        y = _figure(parts, layers, y) + 22
    if note:
        parts.append(_text(12, y + 6, note, "text"))
        y += 20
    style, size = STYLE.replace("\n", ""), f'width="{WIDTH}" height="{y:g}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y:g}" {size}>',
        f"<style>{style}</style>",
        f'<rect class="page" {size}/>',
        *parts,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _figure(parts: list[str], layers: Sequence[Sequence[Box]], y: float) -> float:
    """Draw layers from `y` on, and return where the last one ends."""
    ends: dict[str, tuple[float, float]] = {}
    for layer in layers:
        texts = [
            line
            for box in layer
            for line in wrap(f"{box.name}: {box.text}" if len(layer) > 1 else box.text, LETTERS)
        ]
        height = max(LINE * len(texts), *(box.height for box in layer))
        x = (BOXES - sum(box.width for box in layer) - BETWEEN * (len(layer) - 1)) / 2
        for box in layer:
            middle, top = x + box.width / 2, y + (height - box.height) / 2
            parts += [_arrow(*ends[before], middle, top) for before in box.after]
            parts += _box(box, x, top)
            ends[box.name] = middle, top + box.height
            x += box.width + BETWEEN
        top = y + height / 2 - LINE * (len(texts) - 1) / 2 + 4
        parts += [_text(BOXES + 16, top + LINE * number, text, "text") for number, text in enumerate(texts)]
        y += height + GAP
    return y - GAP


def _box(box: Box, x: float, y: float) -> list[str]:
    style = "box always" if box.dashed else "box"
    return [
        f'<rect class="{style}" x="{x:g}" y="{y:g}" width="{box.width:g}" height="{box.height:g}" rx="4"/>',
        *(
            _text(x + PADDING, y + LINE * (number + 1) - 1, line, "name")
            for number, line in enumerate(box.lines)
        ),
    ]


def _arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    bend = (to_y - y) / 2
    path = f"M{x:g} {y:g}C{x:g} {y + bend:g} {to_x:g} {to_y - bend:g} {to_x:g} {to_y - 5:g}"
    tip = f"M{to_x - 4:g} {to_y - 7:g}h8l-4 7z"
    return f'<path class="arrow" d="{path}"/><path class="tip" d="{tip}"/>'


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text class="{style}" x="{x:g}" y="{y:g}">{escape(text)}</text>'
