"""Axes: from values to positions in a plot, with tick marks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from acdc_pipeline.plotting.svg import Point, escape_text, px


@dataclass(frozen=True)
class Axis:
    """One axis from `low` to `high`; values outside are drawn at its ends."""

    title: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def position(self, value: float) -> float:
        """Return the position of `value`, between 0 and 1."""
        value = min(max(value, self.low), self.high)
        if self.log:
            span = math.log(self.high / self.low)
            return math.log(value / self.low) / span if span else 0.5
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class PlotArea:
    """The rectangle between two axes, in pixels."""

    x: Axis
    y: Axis
    left: float
    top: float
    width: float
    height: float

    def point(self, x: float, y: float) -> Point:
        return self.horizontal(x), self.vertical(y)

    def horizontal(self, value: float) -> float:
        return self.left + self.width * self.x.position(value)

    def vertical(self, value: float) -> float:
        return self.top + self.height * (1 - self.y.position(value))


def draw_axes(area: PlotArea, height: int, *, small: bool = False) -> list[str]:
    """Return the grid, the ticks and the titles of the axes as SVG elements.

    Args:
        height: of the whole picture, in pixels; a title is at its lower edge.
        small: whether it is one picture of several side by side: texts are closer to the axes, and
            the vertical axis has no title.
    """
    beside, tick, below, above_edge = (5, 4, 14, 4) if small else (8, 5, 19, 5)
    right, bottom = area.left + area.width, area.top + area.height
    parts = []
    for value, text in area.y.ticks:
        level = px(area.vertical(value))
        parts.append(f'<path class="grid" d="M{area.left:g} {level}H{right:g}"/>')
        place = f'x="{area.left - beside:g}" y="{level}"'
        parts.append(f'<text class="y" {place} dy=".33em">{text}</text>')
    for value, text in area.x.ticks:
        left, label = px(area.horizontal(value)), escape_text(text)
        parts.append(f'<path class="tick" d="M{left} {bottom:g}v{tick}"/>')
        parts.append(f'<text class="x" x="{left}" y="{bottom + below:g}">{label}</text>')
    middle, title = px(area.left + area.width / 2), escape_text(area.x.title)
    parts.append(f'<text class="x" x="{middle}" y="{height - above_edge}">{title}</text>')
    if not small:
        centre, title = px(area.top + area.height / 2), escape_text(area.y.title)
        place = f"translate(12 {centre}) rotate(-90)"
        parts.append(f'<text class="x" transform="{place}">{title}</text>')
    return parts


def log_axis(title: str, values: Sequence[float]) -> Axis:
    """Return a logarithmic axis around `values`, all positive, with ticks at powers of ten."""
    low, high = min(values), max(values)
    if high / low < 4:
        low, high = low / 2, high * 2
    powers = [
        factor * 10.0**power
        for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for factor in ((1,) if high / low > 300 else (1, 2, 5))
    ]
    ticks = tuple((p, _short(p)) for p in powers if low * 0.999 <= p <= high * 1.001)
    return Axis(title, low * 0.9, high * 1.12, ticks, log=True)


def percent_axis(title: str, lowest: float = 0.0) -> Axis:
    """Return an axis up to 100 %, from 0 or from the quarter below `lowest`, at least -100 %."""
    low = min(0.0, math.floor(max(lowest, -1.0) * 4) / 4)
    ticks = tuple(
        (step / 4, f"{25 * step}%".replace("-", "−")) for step in range(round(4 * low), 5)
    )
    return Axis(title, low, 1.0, ticks)


def _short(value: float) -> str:
    """Format a tick of a logarithmic axis: `500`, `2k`, `85M`."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
