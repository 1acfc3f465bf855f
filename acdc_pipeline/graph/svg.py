"""Text of an SVG figure: its style sheet, numbers, escaped text, curves."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise

from acdc_pipeline.graph.arrangement import Point

# An edge that leans more than this where it passes a row would touch the node beside it.
_MOST_LEAN = 0.5

STYLE = """
.acdc-circuit{--ground:#ffffff;--band:#f4f5f7;--ink:#1c2128;--muted:#68707c;--line:#c9ced6;
--q:#0072b2;--k:#d55e00;--v:#009e73;--r:#7b8494;--head:#ffffff;--mlp:#eceaf6;--end:#e6e9ee}
@media (prefers-color-scheme:dark){.acdc-circuit{--ground:#12161c;--band:#191e26;--ink:#e8ebf0;
--muted:#98a1af;--line:#465060;--q:#4fb3f0;--k:#ff9248;--v:#35c99b;--r:#929cac;--head:#232a34;
--mlp:#322f4a;--end:#2e3744}}
.acdc-circuit text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif;
fill:var(--ink)}
.acdc-circuit .ground{fill:var(--ground)}
.acdc-circuit .band{fill:var(--band)}
.acdc-circuit .title{font-size:16px;font-weight:600}
.acdc-circuit .note{font-size:12px;fill:var(--muted)}
.acdc-circuit .layer{font-size:11px;fill:var(--muted);text-anchor:end}
.acdc-circuit .edge{fill:none;stroke-linecap:round}
.acdc-circuit .edge:hover{stroke-width:3.5;opacity:1}
.acdc-circuit .dead{stroke-dasharray:2 4}
.acdc-circuit .q{stroke:var(--q)}.acdc-circuit .k{stroke:var(--k)}
.acdc-circuit .v{stroke:var(--v)}.acdc-circuit .r{stroke:var(--r)}
.acdc-circuit .port{stroke:none}
.acdc-circuit .port.q{fill:var(--q)}.acdc-circuit .port.k{fill:var(--k)}
.acdc-circuit .port.v{fill:var(--v)}.acdc-circuit .port.r{fill:var(--r)}
.acdc-circuit .node rect{stroke:var(--line);fill:var(--head)}
.acdc-circuit .node.mlp rect{fill:var(--mlp)}
.acdc-circuit .node.input rect,.acdc-circuit .node.logits rect{fill:var(--end)}
.acdc-circuit .node text{font-size:11px;text-anchor:middle}
.acdc-circuit .node.dead rect{stroke-dasharray:2 3}
"""


def number(value: float) -> str:
    """A coordinate: one digit after the point, none where it is zero, never -0."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def text_of(text: str) -> str:
    """`text` inside an element or attribute; characters that XML cannot hold become U+FFFD."""
    legal = "".join(c if _is_xml(c) else "\ufffd" for c in text)
    return escape(legal, quote=True)


def _is_xml(character: str) -> bool:
    code = ord(character)
    return (
        character in "\t\n\r" or 0x20 <= code < 0xD800 or 0xE000 <= code < 0xFFFE or code > 0xFFFF
    )


def curve(points: Sequence[Point]) -> str:
    """A smooth path through `points` that leaves and arrives upright and stays between them."""
    bends = zip(points, points[1:], points[2:], strict=False)
    leans = [0.0, *(_lean(*three) for three in bends), 0.0]
    path = "M" + _pair(*points[0])
    for ((x0, y0), lean0), ((x1, y1), lean1) in pairwise(zip(points, leans, strict=True)):
        if number(x0) == number(x1):
            path += "V" + number(y1)
            continue
        reach = (y1 - y0) / 2
        leaving, arriving = (x0 + lean0 * reach, y0 + reach), (x1 - lean1 * reach, y1 - reach)
        path += "C" + " ".join((_pair(*leaving), _pair(*arriving), _pair(x1, y1)))
    return path


def _pair(x: float, y: float) -> str:
    return f"{number(x)} {number(y)}"


def _lean(before: Point, here: Point, after: Point) -> float:
    """dx/dy of a path at a bend: none where it turns back, little where a node is beside it."""
    a = (here[0] - before[0]) / (here[1] - before[1])
    b = (after[0] - here[0]) / (after[1] - here[1])
    if a * b <= 0:
        return 0.0
    # The harmonic mean keeps the path between its points (Fritsch and Carlson 1980).
    return max(-_MOST_LEAN, min(_MOST_LEAN, 2 * a * b / (a + b)))
