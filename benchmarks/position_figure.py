"""The figure of `benchmarks.position_curve`: a column for each model, a row for each size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from acdc_pipeline.plotting import svg
from acdc_pipeline.plotting.axes import Axis, PlotArea, log_axis

_WIDTH, _HEIGHT = 760.0, 660.0
_LEFT, _TOP = 62.0, 104.0
_PANEL_WIDTH, _PANEL_HEIGHT = 300.0, 196.0
_COLUMN, _ROW = 372.0, 282.0
_LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
_KEYS = ("plain", "spans")
_STYLE = svg.style_sheet(
    "acdc-positions",
    {
        "ground": svg.GROUND,
        "ink": svg.INK,
        "muted": svg.MUTED,
        "line": ("#e1e4e9", "#2e3744"),
        "plain": svg.ORANGE,
        "spans": svg.BLUE,
    },
    "font-size:12px;fill:var(--muted)",
    """\
& .title{font-size:16px;font-weight:600;fill:var(--ink)}
& .head{font-size:13px;font-weight:600;fill:var(--ink)}
& .ground{fill:var(--ground)}
& .grid{stroke:var(--line);fill:none}
& .curve{fill:none;stroke-width:2;stroke-linejoin:round}
& .curve.plain{stroke:var(--plain)}& .curve.spans{stroke:var(--spans)}
& .dot.plain{fill:var(--plain)}& .dot.spans{fill:var(--spans)}
& .x{text-anchor:middle}& .y{text-anchor:end}
""",
)


@dataclass(frozen=True)
class Point:
    """A circuit: connected pairs of nodes, share of what all edges carry, faithfulness."""

    pairs: int
    share: float
    faithfulness: float


@dataclass(frozen=True)
class Curve:
    """The circuits of one graph, from small to large."""

    label: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Panel:
    """The curves of one model: without positions, then with them."""

    title: str
    curves: Sequence[Curve]


def draw(panels: Sequence[Panel], *, title: str) -> str:
    """Return an SVG document with the panels side by side, by pairs above and by share below."""
    parts = [svg.text_element("title", _LEFT, 30.0, title)]
    for index, (key, curve) in enumerate(zip(_KEYS, panels[0].curves, strict=True)):
        x = _LEFT + 170 * index
        parts.append(f'<path class="curve {key}" d="M{svg.px(x)} 52h26"/>')
        parts.append(svg.text_element("note", x + 34, 56.0, curve.label))
    for column, panel in enumerate(panels):
        left = _LEFT + column * _COLUMN
        parts.append(svg.text_element("head", left, _TOP - 14, panel.title))
        points = [point for curve in panel.curves for point in curve.points]
        for row, (name, percent) in enumerate(
            (("pairs of nodes connected", False), ("share of all edges, counted by span", True))
        ):
            values = [_size(point, percent) for point in points]
            axis = log_axis(name, values)
            if percent:
                ticks = tuple((value, f"{value * 100:g}%") for value, _ in axis.ticks)
                axis = Axis(name, axis.low, axis.high, ticks, log=True)
            low = min(0.0, *(max(-0.25, point.faithfulness) for point in points))
            levels = tuple((level, f"{level:g}") for level in _LEVELS)
            area = PlotArea(
                axis,
                Axis("faithfulness", low, 1.05, levels),
                left,
                _TOP + row * _ROW,
                _PANEL_WIDTH,
                _PANEL_HEIGHT,
            )
            parts += _axes(area)
            for key, curve in zip(_KEYS, panel.curves, strict=True):
                parts += _curve(area, key, curve, percent)
    return svg.document(
        "acdc-positions", parts, width=_WIDTH, height=_HEIGHT, label=title, style=_STYLE
    )


def _size(point: Point, percent: bool) -> float:
    return point.share if percent else float(point.pairs)


def _axes(area: PlotArea) -> list[str]:
    parts, bottom = [], area.top + area.height
    for value, text in area.x.ticks:
        x = svg.px(area.horizontal(value))
        parts.append(f'<path class="grid" d="M{x} {svg.px(area.top)}V{svg.px(bottom)}"/>')
        parts.append(f'<text class="x" x="{x}" y="{svg.px(bottom + 18)}">{text}</text>')
    for level, text in area.y.ticks:
        y = area.vertical(level)
        parts.append(f'<path class="grid" d="M{svg.px(area.left)} {svg.px(y)}h{area.width:g}"/>')
        x = svg.px(area.left - 8)
        parts.append(f'<text class="y" x="{x}" y="{svg.px(y + 4)}">{text}</text>')
    middle = svg.px(area.left + area.width / 2)
    parts.append(f'<text class="x" x="{middle}" y="{svg.px(bottom + 40)}">{area.x.title}</text>')
    return parts


def _curve(area: PlotArea, key: str, curve: Curve, percent: bool) -> list[str]:
    places = [area.point(_size(point, percent), point.faithfulness) for point in curve.points]
    path = "L".join(f"{svg.px(x)} {svg.px(y)}" for x, y in places)
    dots = [
        f'<circle class="dot {key}" cx="{svg.px(x)}" cy="{svg.px(y)}" r="3">'
        f"<title>{curve.label}: {point.pairs:,} pairs, {point.share:.2%} of all edges, "
        f"faithfulness {point.faithfulness:.3f}</title></circle>"
        for (x, y), point in zip(places, curve.points, strict=True)
    ]
    return [f'<path class="curve {key}" d="M{path}"/>', *dots]
