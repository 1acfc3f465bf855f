"""Small multiples for the wiki: one score of many heads over the members of a family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from acdc_pipeline.plotting.axes import Axis, PlotArea
from acdc_pipeline.plotting.svg import Point, escape_text, px

_LEFT, _RIGHT, _TOP, _BOTTOM = 34.0, 46.0, 8.0, 32.0
_LINE_HEIGHT = 11.0


@dataclass(frozen=True)
class Trace:
    """One head: a value for each member, None where it was not measured.

    Args:
        name: written at the end of the line, if `strong`.
        strong: whether it stands out from the others: lines in colours of their own, dots in one.
    """

    name: str
    values: tuple[float | None, ...]
    strong: bool = False


def draw_traces(
    traces: Sequence[Trace],
    x: Axis,
    places: Sequence[float],
    y: Axis,
    *,
    label: str,
    line: float | None = None,
    connected: bool = True,
    width: int = 300,
    height: int = 170,
) -> str:
    """Return a plot as an `<svg>` element.

    Args:
        traces: strong ones are drawn last, whatever their order.
        places: the x of each member.
        line: a threshold, drawn dashed.
        connected: whether the values of a trace are joined; else they are dots.
        label: description for screen readers; any text.
    """
    area = PlotArea(x, y, _LEFT, _TOP, width - _LEFT - _RIGHT, height - _TOP - _BOTTOM)
    parts = [
        f'<svg class="plot traces" role="img" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" aria-label="{escape_text(label)}">',
        *_draw_axes(area, width, height),
    ]
    if line is not None and y.low <= line <= y.high:
        level = px(area.vertical(line))
        parts.append(f'<path class="limit" d="M{_LEFT:g} {level}H{width - _RIGHT:g}"/>')
    ends: list[tuple[float, int, str]] = []
    number = 0
    for trace in sorted(traces, key=lambda trace: trace.strong):
        points = [
            None if value is None else area.point(place, value)
            for place, value in zip(places, trace.values, strict=True)
        ]
        colour = number % 8 if connected else 0
        css = f"trace c{colour}" if trace.strong else "trace"
        parts.append(f'<g class="{css}">{_draw(points, connected)}</g>')
        if trace.strong:
            if (last := next((p for p in reversed(points) if p is not None), None)) is not None:
                ends.append((last[1], number, trace.name))
            number += 1
    if connected:
        parts += _draw_names(ends, width, height)
    return "\n".join((*parts, "</svg>"))


def _draw(points: Sequence[Point | None], connected: bool) -> str:
    known = [point for point in points if point is not None]
    if connected and len(known) > 1:
        return '<path d="M' + "L".join(f"{px(a)} {px(b)}" for a, b in known) + '"/>'
    return "".join(f'<circle cx="{px(a)}" cy="{px(b)}" r="2.5"/>' for a, b in known)


def _draw_names(ends: Sequence[tuple[float, int, str]], width: int, height: int) -> list[str]:
    """Write the names of lines beside their ends, each below the one before."""
    parts, lowest = [], -_LINE_HEIGHT
    room = height - _BOTTOM - _LINE_HEIGHT * len(ends)
    for rank, (level, number, name) in enumerate(sorted(ends)):
        lowest = max(lowest + _LINE_HEIGHT, min(level, room + _LINE_HEIGHT * (rank + 1)))
        parts.append(
            f'<text class="c{number % 8}" x="{width - _RIGHT + 5:g}" y="{px(lowest)}" dy=".33em">'
            f"{escape_text(name)}</text>"
        )
    return parts


def _draw_axes(area: PlotArea, width: int, height: int) -> list[str]:
    parts = []
    for value, text in area.y.ticks:
        level = px(area.vertical(value))
        parts.append(f'<path class="grid" d="M{_LEFT:g} {level}H{width - _RIGHT:g}"/>')
        parts.append(f'<text class="y" x="{_LEFT - 5:g}" y="{level}" dy=".33em">{text}</text>')
    for value, text in area.x.ticks:
        left, bottom = px(area.horizontal(value)), height - _BOTTOM
        parts.append(f'<path class="tick" d="M{left} {bottom:g}v4"/>')
        parts.append(f'<text class="x" x="{left}" y="{bottom + 14:g}">{escape_text(text)}</text>')
    middle = px(area.left + area.width / 2)
    title = escape_text(area.x.title)
    parts.append(f'<text class="x" x="{middle}" y="{height - 4}">{title}</text>')
    return parts
