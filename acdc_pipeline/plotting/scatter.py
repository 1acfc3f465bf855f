"""Scatter plots for the wiki: labelled points on two axes, each of which may be a link."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from acdc_pipeline.plotting.axes import Axis, PlotArea, draw_axes
from acdc_pipeline.plotting.svg import escape_text, px

_LEFT, _RIGHT, _TOP, _BOTTOM = 66.0, 16.0, 14.0, 42.0
_LABEL_WIDTH, _LINE_HEIGHT = 44.0, 12.0
"""A label closer than this to an earlier one is left to the tooltip."""


@dataclass(frozen=True)
class Mark:
    """One point of a plot.

    Args:
        label: text beside the point or in its tooltip; any text.
        css: further classes.
    """

    x: float
    y: float
    label: str
    href: str | None = None
    css: str = ""


def draw_scatter(
    marks: Sequence[Mark],
    x: Axis,
    y: Axis,
    *,
    label: str,
    width: int = 560,
    height: int = 300,
    line: bool = False,
    labelled: bool = False,
) -> str:
    """Return a plot as an `<svg>` element.

    Args:
        marks: the points, later ones on top.
        label: description for screen readers; any text.
        line: whether neighbouring points are connected.
        labelled: whether labels are written beside the points, where there is space.
    """
    area = PlotArea(x, y, _LEFT, _TOP, width - _LEFT - _RIGHT, height - _TOP - _BOTTOM)
    # An element with the role of an image may not contain links.
    role = "group" if any(mark.href for mark in marks) else "img"
    parts = [
        f'<svg class="plot" role="{role}" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" aria-label="{escape_text(label)}">',
        *draw_axes(area, height),
    ]
    places = [area.point(mark.x, mark.y) for mark in marks]
    if line and len(marks) > 1:
        path = "L".join(f"{px(a)} {px(b)}" for a, b in places)
        parts.append(f'<path class="line" d="M{path}"/>')
    written: list[tuple[float, float]] = []
    for mark, (across, down) in zip(marks, places, strict=True):
        left, top, text = px(across), px(down), escape_text(mark.label)
        shape = f'<circle cx="{left}" cy="{top}" r="4"/><title>{text}</title>'
        free = all(
            abs(across - a) > _LABEL_WIDTH or abs(down - b) > _LINE_HEIGHT for a, b in written
        )
        if labelled and free:
            written.append((across, down))
            shape += f'<text x="{left}" y="{top}" dx="8" dy="1.2em">{text}</text>'
        shape = f'<g class="{f"dot {mark.css}".strip()}">{shape}</g>'
        parts.append(f'<a href="{escape_text(mark.href)}">{shape}</a>' if mark.href else shape)
    return "\n".join((*parts, "</svg>"))
