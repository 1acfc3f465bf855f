"""Small multiples for the wiki: one score of many heads over the members of a family."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from acdc_pipeline.plotting.axes import Axis, PlotArea, draw_axes
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
        traces: strong ones are drawn last, whatever their order. Their names differ.
        places: the x of each member.
        line: a threshold, drawn dashed.
        connected: whether the values of a trace are joined; else they are dots.
        label: description for screen readers; any text.
    """
    area = PlotArea(x, y, _LEFT, _TOP, width - _LEFT - _RIGHT, height - _TOP - _BOTTOM)
    kind = "traces" if connected else "traces dots"
    parts = [
        f'<svg class="plot {kind}" role="img" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" aria-label="{escape_text(label)}">',
        *draw_axes(area, height, small=True),
    ]
    if line is not None and y.low <= line <= y.high:
        level = px(area.vertical(line))
        parts.append(f'<path class="limit" d="M{_LEFT:g} {level}H{width - _RIGHT:g}"/>')
    drawn = {
        trace.name: [
            None if value is None else area.point(place, value)
            for place, value in zip(places, trace.values, strict=True)
        ]
        for trace in traces
    }
    path = _lines if connected else _dots
    # all that do not stand out are one path, and so are all dots that do
    parts.append(f'<path class="trace" d="{path(drawn[t.name] for t in traces if not t.strong)}"/>')
    strong = [drawn[trace.name] for trace in traces if trace.strong]
    for number, group in enumerate([[points] for points in strong] if connected else [strong]):
        parts.append(f'<path class="trace c{number % 8}" d="{path(group)}"/>')
    if connected:
        names = [trace.name for trace in traces if trace.strong]
        last = [next((p for p in reversed(points) if p is not None), None) for points in strong]
        ends = [
            (point[1], number, names[number])
            for number, point in enumerate(last)
            if point is not None
        ]
        parts += _draw_names(ends, width, height)
    return "\n".join((*parts, "</svg>"))


def _lines(traces: Iterable[Sequence[Point | None]]) -> str:
    """Return path data that joins the points of each trace; a point alone becomes a dot."""
    found = []
    for points in traces:
        known = [f"{px(point[0])} {px(point[1])}" for point in points if point is not None]
        if known:
            found.append("M" + "L".join(known) + ("h0" if len(known) == 1 else ""))
    return "".join(found)


def _dots(traces: Iterable[Sequence[Point | None]]) -> str:
    """Return path data of a dot at each point, which round ends of lines make."""
    known = [point for points in traces for point in points if point is not None]
    return "".join(f"M{px(a)} {px(b)}h0" for a, b in known)


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
