"""SVG documents: the colours of both themes, coordinates, escaped text, smooth paths."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path

from acdc_pipeline.errors import InvalidInput
from acdc_pipeline.files import write_bytes

Point = tuple[float, float]
"""x and y in pixels from the upper left corner."""

Colour = tuple[str, str]
"""A colour in the light and in the dark theme."""

GROUND: Colour = ("#ffffff", "#12161c")
BAND: Colour = ("#f4f5f7", "#191e26")
INK: Colour = ("#1c2128", "#e8ebf0")
MUTED: Colour = ("#68707c", "#98a1af")
# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE: Colour = ("#0072b2", "#4fb3f0")
ORANGE: Colour = ("#d55e00", "#ff9248")
GREEN: Colour = ("#009e73", "#35c99b")
GREY: Colour = ("#7b8494", "#929cac")

SUFFIX = ".svg"

_FONT = 'system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif'
_LONGEST_LINE = 100

_MAX_SLOPE = 0.5
"""A path that leans further where it passes a row would touch the node beside it."""

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Drawing:
    """An SVG document, which a notebook shows as a picture."""

    svg: str

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"<an SVG of {len(self.svg):,} characters>"

    def save(self, path: Path | str) -> Path:
        """Write the picture to `path`, replacing any file there, and return the path.

        Raises:
            InvalidInput: `path` does not end in `.svg`, or cannot be written.
        """
        written = Path(path)
        if written.suffix.lower() != SUFFIX:
            raise InvalidInput(
                "the picture is an SVG", where=str(path), allowed=f"a file that ends in {SUFFIX}"
            )
        write_bytes(written, self.svg.encode())
        return written


def check_title(title: str) -> None:
    """Raise InvalidInput if a title is the name of a file: pictures are written by `save`."""
    if title.lower().endswith(SUFFIX):
        raise InvalidInput(
            f"'{title}' is the name of a file, and draw takes a title",
            field="title",
            fix=f"draw().save({title!r})",
        )


def document(
    css_class: str,
    parts: Iterable[str],
    *,
    width: float,
    height: float,
    label: str,
    style: str,
    attributes: str = "",
) -> str:
    """Return a standalone SVG document with a background.

    Args:
        label: description for screen readers; any text.
        style: style sheet, from `style_sheet`.
        attributes: further attributes of the root element.
    """
    size = px(width), px(height)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{css_class}" role="img" '
        f'viewBox="0 0 {size[0]} {size[1]}"{attributes} aria-label="{escape_text(label)}">',
        f"<style>{style}</style>",
        f'<rect class="ground" width="{size[0]}" height="{size[1]}"/>',
        *parts,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def style_sheet(css_class: str, colours: Mapping[str, Colour], text: str, rules: str) -> str:
    """Return the style sheet of a document that follows the reader's light or dark scheme.

    Args:
        text: declarations for all text, beside the font.
        rules: further rules; `&` is the root element.
    """
    root = f".{css_class}"
    light, dark = (
        f"{root}{{{';'.join(f'--{name}:{colour[theme]}' for name, colour in colours.items())}}}"
        for theme in (0, 1)
    )
    head = (
        light,
        f"@media (prefers-color-scheme:dark){{{dark}}}",
        f"{root} text{{font-family:{_FONT};{text}}}",
    )
    return "\n" + "".join(_fold(rule) + "\n" for rule in head) + rules.replace("&", root)


def _fold(rule: str) -> str:
    lines = [""]
    for part in re.findall("[^;]+;?", rule):
        if len(lines[-1]) + len(part) > _LONGEST_LINE:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def text_element(css_class: str, x: float, y: float, text: str) -> str:
    """Return a line of text that starts at (x, y); `text` may be any text."""
    return f'<text class="{css_class}" x="{px(x)}" y="{px(y)}">{escape_text(text)}</text>'


def px(value: float) -> str:
    """Format a coordinate: at most one decimal place, never -0."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def escape_text(text: str) -> str:
    """Escape `text` for an element or attribute; characters illegal in XML become U+FFFD."""
    return escape(_NOT_XML.sub("\ufffd", text), quote=True)


def smooth_path(points: Sequence[Point]) -> str:
    """Return path data through `points`, vertical at both ends and without overshoot."""
    bends = zip(points, points[1:], points[2:], strict=False)
    slopes = [0.0, *(_slope(*three) for three in bends), 0.0]
    path = "M" + _pair(*points[0])
    for ((x0, y0), slope0), ((x1, y1), slope1) in pairwise(zip(points, slopes, strict=True)):
        if px(x0) == px(x1):
            path += "V" + px(y1)
            continue
        reach = (y1 - y0) / 2
        leaving, arriving = (x0 + slope0 * reach, y0 + reach), (x1 - slope1 * reach, y1 - reach)
        path += "C" + " ".join((_pair(*leaving), _pair(*arriving), _pair(x1, y1)))
    return path


def _pair(x: float, y: float) -> str:
    return f"{px(x)} {px(y)}"


def _slope(before: Point, here: Point, after: Point) -> float:
    """Return dx/dy at a bend: 0 where the path turns back, at most `_MAX_SLOPE`."""
    a = (here[0] - before[0]) / (here[1] - before[1])
    b = (after[0] - here[0]) / (after[1] - here[1])
    if a * b <= 0:
        return 0.0
    # The harmonic mean keeps the path between its points (Fritsch and Carlson 1980).
    return max(-_MAX_SLOPE, min(_MAX_SLOPE, 2 * a * b / (a + b)))
