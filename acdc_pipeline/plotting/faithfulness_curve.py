"""Faithfulness against the share of edges kept, as a standalone SVG figure."""

from __future__ import annotations

from collections.abc import Sequence

from acdc_pipeline.plotting import svg
from acdc_pipeline.plotting.axes import Axis, PlotArea
from acdc_pipeline.plotting.scatter import Mark

_WIDTH, _HEIGHT = 720.0, 420.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 24.0, 76.0, 64.0
_SHARES = (0.001, 0.01, 0.1, 1.0)
_LEVELS = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)

_STYLE = svg.style_sheet(
    "acdc-curve",
    {
        "ground": svg.GROUND,
        "ink": svg.INK,
        "muted": svg.MUTED,
        "line": ("#e1e4e9", "#2e3744"),
        "curve": svg.BLUE,
        "run": svg.ORANGE,
        "null": svg.GREY,
    },
    "font-size:12px;fill:var(--muted)",
    """\
& .title{font-size:16px;font-weight:600;fill:var(--ink)}
& .ground{fill:var(--ground)}
& .grid{stroke:var(--line);fill:none}
& .end{stroke:var(--muted);stroke-dasharray:3 4;fill:none}
& .curve{stroke:var(--curve);fill:none;stroke-width:2;stroke-linejoin:round}
& .point{fill:var(--curve)}
& .run{fill:var(--ground);stroke:var(--run);stroke-width:2.5}
& .null{fill:var(--null);opacity:.55}
& .x{text-anchor:middle}& .y{text-anchor:end}
""",
)


def draw_faithfulness_curve(
    curve: Sequence[Mark],
    circuit: Mark,
    null: Sequence[Mark],
    *,
    title: str,
    subtitle: str,
) -> str:
    """Return an SVG document with the figure. `x` is the share of edges, `y` the faithfulness.

    Args:
        curve: points of the curve, smallest share first; those without a label get no dot.
        null: random circuits of its size.
    """
    values = [1.0, 0.0, *(mark.y for mark in (circuit, *null, *curve))]
    # An outlier is drawn at the edge instead of compressing all others.
    low, high = max(-1.0, min(values)), min(2.0, max(values))
    margin = 0.05 * (high - low)
    shares = tuple((share, f"{share * 100:g}%") for share in _SHARES)
    levels = tuple(
        (level, f"{level:g}") for level in _LEVELS if low - margin <= level <= high + margin
    )
    area = PlotArea(
        Axis("edges kept", _SHARES[0], _SHARES[-1], shares, log=True),
        Axis("faithfulness", low - margin, high + margin, levels),
        _LEFT,
        _TOP,
        _WIDTH - _LEFT - _RIGHT,
        _HEIGHT - _TOP - _BOTTOM,
    )
    parts = [
        f'<text class="title" x="{_LEFT:g}" y="30">{svg.escape_text(title)}</text>',
        f'<text x="{_LEFT:g}" y="52">{svg.escape_text(subtitle)}</text>',
        *_draw_axes(area),
        *(_dot("null", area, mark) for mark in null),
        *_draw_line(area, curve),
        _dot("run", area, circuit, radius=5),
    ]
    return svg.document(
        "acdc-curve", parts, width=_WIDTH, height=_HEIGHT, label=title, style=_STYLE
    )


def _draw_axes(area: PlotArea) -> list[str]:
    parts = []
    bottom = _HEIGHT - _BOTTOM
    for share, text in area.x.ticks:
        x = svg.px(area.horizontal(share))
        parts.append(f'<path class="grid" d="M{x} {_TOP:g}V{bottom:g}"/>')
        parts.append(f'<text class="x" x="{x}" y="{bottom + 20:g}">{text}</text>')
    for level, text in area.y.ticks:
        y = area.vertical(level)
        css = "end" if level in (0, 1) else "grid"
        parts.append(f'<path class="{css}" d="M{_LEFT:g} {svg.px(y)}H{_WIDTH - _RIGHT:g}"/>')
        parts.append(f'<text class="y" x="{_LEFT - 8:g}" y="{svg.px(y + 4)}">{text}</text>')
    middle = svg.px(area.left + area.width / 2)
    parts.append(f'<text class="x" x="{middle}" y="{_HEIGHT - 20:g}">{area.x.title}</text>')
    return parts


def _draw_line(area: PlotArea, curve: Sequence[Mark]) -> list[str]:
    if not curve:
        return []
    places = (area.point(mark.x, mark.y) for mark in curve)
    path = "L".join(f"{svg.px(x)} {svg.px(y)}" for x, y in places)
    dots = (_dot("point", area, mark) for mark in curve if mark.label)
    return [f'<path class="curve" d="M{path}"/>', *dots]


def _dot(css: str, area: PlotArea, mark: Mark, radius: int = 3) -> str:
    x, y = area.point(mark.x, mark.y)
    return (
        f'<circle class="{css}" cx="{svg.px(x)}" cy="{svg.px(y)}" r="{radius}">'
        f"<title>{svg.escape_text(mark.label)}</title></circle>"
    )
