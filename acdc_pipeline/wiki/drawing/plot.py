"""Small plots as SVG: numbers on two axes, points that are links, a sentence for who cannot see."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from acdc_pipeline.graph.svg import number as coordinate
from acdc_pipeline.graph.svg import text_of
from acdc_pipeline.wiki.numbers import short
from acdc_pipeline.wiki.text import plain

_LEFT, _RIGHT, _TOP, _BOTTOM = 66.0, 16.0, 14.0, 42.0
_LABEL, _LINE = 44.0, 12.0
"""A label this near to an earlier one would be written over it; its point still has a title."""


@dataclass(frozen=True)
class Point:
    """One point of a plot.

    Args:
        x, y: where it is, in the units of the axes.
        label: what it is, shown beside it or when it is pointed at.
        href: its page, None where it has none.
        css: classes of its mark.
    """

    x: float
    y: float
    label: str
    href: str | None = None
    css: str = ""


@dataclass(frozen=True)
class Axis:
    """One axis: from `low` to `high`, with marks.

    Args:
        title: what it measures.
        low, high: its ends.
        ticks: the marks, each with what stands beside it.
        log: whether equal factors are equally far apart.
    """

    title: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Where `value` is, between 0 and 1."""
        if self.log:
            span = math.log(self.high / self.low)
            return math.log(max(value, self.low) / self.low) / span if span else 0.5
        return (value - self.low) / (self.high - self.low)


def log_axis(title: str, values: Sequence[float]) -> Axis:
    """A logarithmic axis around `values`, all positive, with marks at powers of ten."""
    low, high = min(values), max(values)
    if high / low < 4:
        low, high = low / 2, high * 2
    powers = [
        factor * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for factor in ((1,) if high / low > 300 else (1, 2, 5))
    ]
    ticks = tuple((p, short(p)) for p in powers if low * 0.999 <= p <= high * 1.001)
    return Axis(title, low * 0.9, high * 1.12, ticks, log=True)


def share_axis(title: str, lowest: float = 0.0) -> Axis:
    """An axis of percent, from 0 or where `lowest` is below that."""
    low = min(0.0, math.floor(max(lowest, -1.0) * 4) / 4)
    ticks = tuple(
        (step / 4, f"{25 * step}%".replace("-", "−")) for step in range(round(4 * low), 5)
    )
    return Axis(title, low, 1.0, ticks)


def scatter(
    points: Sequence[Point],
    x: Axis,
    y: Axis,
    *,
    says: str,
    width: int = 560,
    height: int = 300,
    line: bool = False,
    labelled: bool = False,
) -> str:
    """A plot of `points`.

    Args:
        points: what is drawn, later ones on top.
        x, y: the axes.
        says: what it shows, in a sentence; any text.
        width, height: in pixels.
        line: whether neighbouring points are joined.
        labelled: whether labels stand beside the points, where there is room.
    """
    inner_w, inner_h = width - _LEFT - _RIGHT, height - _TOP - _BOTTOM

    def at(point: Point) -> tuple[float, float]:
        across, up = x.place(point.x), min(1.0, max(0.0, y.place(point.y)))
        return _LEFT + inner_w * across, _TOP + inner_h * (1 - up)

    # a picture has no links in it
    role = "group" if any(point.href for point in points) else "img"
    parts = [
        f'<svg class="plot" role="{role}" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" aria-label="{text_of(plain(says))}">'
    ]
    for value, text in y.ticks:
        level = coordinate(_TOP + inner_h * (1 - y.place(value)))
        parts.append(f'<path class="grid" d="M{_LEFT:g} {level}H{width - _RIGHT:g}"/>')
        parts.append(f'<text class="y" x="{_LEFT - 8:g}" y="{level}" dy=".33em">{text}</text>')
    for value, text in x.ticks:
        left = coordinate(_LEFT + inner_w * x.place(value))
        parts.append(f'<path class="tick" d="M{left} {height - _BOTTOM:g}v5"/>')
        parts.append(f'<text class="x" x="{left}" y="{height - _BOTTOM + 19:g}">{text}</text>')
    middle = coordinate(_LEFT + inner_w / 2)
    parts.append(f'<text class="x" x="{middle}" y="{height - 5}">{text_of(x.title)}</text>')
    parts.append(
        f'<text class="x" transform="translate(12 {coordinate(_TOP + inner_h / 2)}) rotate(-90)">'
        f"{text_of(y.title)}</text>"
    )
    if line and len(points) > 1:
        path = "L".join(f"{coordinate(a)} {coordinate(b)}" for a, b in map(at, points))
        parts.append(f'<path class="line" d="M{path}"/>')
    written: list[tuple[float, float]] = []
    for point in points:
        across, down = at(point)
        left, top = coordinate(across), coordinate(down)
        mark = f'<circle cx="{left}" cy="{top}" r="4"/><title>{text_of(plain(point.label))}</title>'
        free = all(abs(across - x) > _LABEL or abs(down - y) > _LINE for x, y in written)
        if labelled and free:
            written.append((across, down))
            mark += (
                f'<text x="{left}" y="{top}" dx="8" dy="1.2em">{text_of(plain(point.label))}</text>'
            )
        shape = f'<g class="{f"dot {point.css}".strip()}">{mark}</g>'
        parts.append(f'<a href="{text_of(point.href)}">{shape}</a>' if point.href else shape)
    return "\n".join((*parts, "</svg>"))
