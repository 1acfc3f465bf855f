"""The picture of a faithfulness curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from acdc_pipeline.cli.terminal.words import number, percent
from acdc_pipeline.graph.svg import number as place
from acdc_pipeline.graph.svg import text_of

if TYPE_CHECKING:
    from acdc_pipeline.evaluation import Point
    from acdc_pipeline.workflows.evaluation import Evaluation

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 76, 64
LEAST, MOST = 0.001, 1.0
"""Shares of the graph at the ends of the axis, which is logarithmic."""

STYLE = """
.acdc-curve{--ground:#ffffff;--ink:#1c2128;--muted:#68707c;--line:#e1e4e9;--curve:#0072b2;
--run:#d55e00;--null:#7b8494}
@media (prefers-color-scheme:dark){.acdc-curve{--ground:#12161c;--ink:#e8ebf0;--muted:#98a1af;
--line:#2e3744;--curve:#4fb3f0;--run:#ff9248;--null:#929cac}}
.acdc-curve text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif;
font-size:12px;fill:var(--muted)}
.acdc-curve .title{font-size:16px;font-weight:600;fill:var(--ink)}
.acdc-curve .ground{fill:var(--ground)}
.acdc-curve .grid{stroke:var(--line);fill:none}
.acdc-curve .end{stroke:var(--muted);stroke-dasharray:3 4;fill:none}
.acdc-curve .curve{stroke:var(--curve);fill:none;stroke-width:2;stroke-linejoin:round}
.acdc-curve .point{fill:var(--curve)}
.acdc-curve .run{fill:var(--ground);stroke:var(--run);stroke-width:2.5}
.acdc-curve .null{fill:var(--null);opacity:.55}
.acdc-curve .x{text-anchor:middle}.acdc-curve .y{text-anchor:end}
"""


def draw_curve(found: Evaluation, *, title: str) -> str:
    """Faithfulness against the share of edges, the circuit itself and its null, as an SVG."""
    curve = found.curve or ()
    values = [1.0, 0.0, found.faithfulness, *found.null, *(p.faithfulness for p in curve)]
    # One circuit far outside would press the rest flat; it is drawn at the edge.
    low, high = max(-1.0, min(values)), min(2.0, max(values))
    axes = _Axes(low - 0.05 * (high - low), high + 0.05 * (high - low))
    share = len(found.circuit) / found.circuit.topology.n_edges
    areas = "" if found.cpr is None else f" CPR {number(found.cpr)}, CMD {number(found.cmd)}."
    subtitle = (
        f"Faithfulness in {found.scale.metric} against the share of edges.{areas} "
        f"Circle: the circuit, {percent(share)}. Grey: random circuits of its size."
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="acdc-curve" viewBox="0 0 {WIDTH} {HEIGHT}"'
        f' role="img" aria-label="{text_of(title)}">',
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}"/>',
        f'<text class="title" x="{LEFT}" y="30">{text_of(title)}</text>',
        f'<text x="{LEFT}" y="52">{text_of(subtitle)}</text>',
        *axes.drawn(),
        *(_dot("null", axes.at(share, value), "random circuit", value) for value in found.null),
        *_line(axes, curve),
        _dot("run", axes.at(share, found.faithfulness), "this circuit", found.faithfulness, 5),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


class _Axes:
    """From shares and faithfulness to places in the picture."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def at(self, share: float, value: float) -> tuple[float, float]:
        along = math.log(min(max(share, LEAST), MOST) / LEAST) / math.log(MOST / LEAST)
        up = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        x = LEFT + along * (WIDTH - LEFT - RIGHT)
        return x, HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def drawn(self) -> list[str]:
        out = []
        for share in (0.001, 0.01, 0.1, 1.0):
            x, _ = self.at(share, 0.0)
            below = HEIGHT - BOTTOM
            out.append(f'<path class="grid" d="M{place(x)} {TOP}V{below}"/>')
            out.append(f'<text class="x" x="{place(x)}" y="{below + 20}">{share * 100:g}%</text>')
        for value in (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0):
            if self.low <= value <= self.high:
                _, y = self.at(LEAST, value)
                kind = "end" if value in (0, 1) else "grid"
                out.append(f'<path class="{kind}" d="M{LEFT} {place(y)}H{WIDTH - RIGHT}"/>')
                out.append(f'<text class="y" x="{LEFT - 8}" y="{place(y + 4)}">{value:g}</text>')
        middle = (LEFT + WIDTH - RIGHT) / 2
        out.append(f'<text class="x" x="{place(middle)}" y="{HEIGHT - 20}">edges kept</text>')
        return out


def _line(axes: _Axes, points: Sequence[Point]) -> list[str]:
    if not points:
        return []
    places = [axes.at(point.fraction, point.faithfulness) for point in points]
    path = "L".join(f"{place(x)} {place(y)}" for x, y in places)
    dots = [
        _dot("point", at, f"{point.edges} edges", point.faithfulness)
        for at, point in zip(places, points, strict=True)
        if point.edges  # no circuit is that small
    ]
    return [f'<path class="curve" d="M{path}"/>', *dots]


def _dot(kind: str, at: tuple[float, float], name: str, value: float, radius: int = 3) -> str:
    label = text_of(f"{name}: faithfulness {number(value)}")
    return (
        f'<circle class="{kind}" cx="{place(at[0])}" cy="{place(at[1])}" r="{radius}">'
        f"<title>{label}</title></circle>"
    )
