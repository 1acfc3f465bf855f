"""Scales of scores and their colours: even steps of OKLab lightness, for light and dark pages.

Zero has the colour of the page, so that only other values stand out. The scale of shares runs
through teal to deep blue, the signed one from orange through the page colour to blue: pairs that
differ in lightness and that readers with any common form of colour blindness can tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from jaxtyping import UInt8

RGB = tuple[int, int, int]
Theme = Literal["light", "dark"]
ScaleKind = Literal["share", "signed"]

THEMES: tuple[Theme, ...] = ("light", "dark")

STEPS = 33
"""Number of colours of a scale; odd, so that a signed one has a middle."""

MISSING = 0
"""Colour index of a missing value; the colours of a palette follow from 1."""

_QUANTILE = 0.998
_ROUND = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)

_LCH = tuple[float, float, float]
"""Lightness 0..1, chroma, hue in degrees."""

_KNOTS: dict[tuple[Theme, ScaleKind], tuple[_LCH, ...]] = {
    ("light", "share"): (
        (0.970, 0.008, 100.0),
        (0.890, 0.050, 165.0),
        (0.740, 0.090, 195.0),
        (0.560, 0.110, 230.0),
        (0.390, 0.125, 260.0),
        (0.240, 0.095, 278.0),
    ),
    ("dark", "share"): (
        (0.245, 0.012, 262.0),
        (0.345, 0.080, 262.0),
        (0.500, 0.105, 235.0),
        (0.680, 0.110, 195.0),
        (0.840, 0.095, 160.0),
        (0.960, 0.070, 110.0),
    ),
    ("light", "signed"): (
        (0.400, 0.120, 42.0),
        (0.680, 0.135, 55.0),
        (0.965, 0.006, 95.0),
        (0.640, 0.110, 245.0),
        (0.370, 0.125, 262.0),
    ),
    ("dark", "signed"): (
        (0.860, 0.105, 70.0),
        (0.560, 0.125, 50.0),
        (0.245, 0.010, 262.0),
        (0.550, 0.115, 250.0),
        (0.870, 0.085, 225.0),
    ),
}


@dataclass(frozen=True)
class ScoreScale:
    """The range of a score, the same for all models; values outside are shown at its ends.

    Args:
        low: 0, or -`high` for a score with both signs.
        high: a round number.
        exceeded: whether some values are outside.
    """

    low: float
    high: float
    exceeded: bool = False

    @property
    def kind(self) -> ScaleKind:
        """Which colours it has."""
        return "share" if self.low == 0 else "signed"

    @property
    def zero(self) -> float:
        """Position of zero, between 0 and 1."""
        return self.position(0.0)

    def position(self, value: float) -> float:
        """Return the position of `value`, between 0 (at `low`) and 1 (at `high`)."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def colour_indices(self, values: np.ndarray) -> UInt8[np.ndarray, "row column"]:
        """Return the colour of each value: `MISSING` for NaN, else 1 + its index in `palette`."""
        shares = np.clip((values - self.low) / (self.high - self.low), 0.0, 1.0)
        known = np.isfinite(shares)
        steps = np.rint(np.where(known, shares, 0.0) * (STEPS - 1)).astype(np.uint8)
        return np.where(known, steps + 1, MISSING).astype(np.uint8)


def score_scale(low: float | None, high: float | None, values: Iterable[np.ndarray]) -> ScoreScale:
    """Return the scale of a score over all models.

    Args:
        low, high: smallest and largest possible value; None if there is none. The scale of a score
            that cannot be negative begins at 0; any other is symmetric around 0.
        values: the score in each model. Without bounds, the scale ends at the round number above
            99.8 % of them, so that one outlier does not hide the differences between the others.
    """
    signed = low is None or low < 0
    if low is not None and high is not None:
        return ScoreScale(-high if signed else 0.0, high)
    parts = [np.abs(v[np.isfinite(v)]) for v in values]
    sizes = np.concatenate(parts) if parts else np.zeros(0)
    if not sizes.size or not sizes.max() > 0:
        return ScoreScale(-1.0 if signed else 0.0, 1.0)
    end = _round_up(float(np.quantile(sizes, _QUANTILE)) or float(sizes.max()))
    return ScoreScale(-end if signed else 0.0, end, bool(sizes.max() > end))


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    factor = next(f for f in _ROUND if f * power >= value * (1 - 1e-9))
    return float(f"{factor * power:.12g}")


@cache
def palette(theme: Theme, kind: ScaleKind, steps: int = STEPS) -> tuple[RGB, ...]:
    """Return `steps` colours from the lowest value to the highest."""
    knots = _KNOTS[theme, kind]
    return tuple(_rgb(_interpolate(knots, step / (steps - 1))) for step in range(steps))


def gradient(theme: Theme, kind: ScaleKind) -> str:
    """Return the colour stops of a CSS gradient."""
    return ",".join("#{:02x}{:02x}{:02x}".format(*colour) for colour in palette(theme, kind, 17))


def _interpolate(knots: Sequence[_LCH], share: float) -> _LCH:
    place = share * (len(knots) - 1)
    below = min(int(place), len(knots) - 2)
    part = place - below
    a, b = knots[below], knots[below + 1]
    # Interpolated in Cartesian coordinates, where a grey end does not shift the hue.
    ax, ay = a[1] * math.cos(math.radians(a[2])), a[1] * math.sin(math.radians(a[2]))
    bx, by = b[1] * math.cos(math.radians(b[2])), b[1] * math.sin(math.radians(b[2]))
    mx, my = (1 - part) * ax + part * bx, (1 - part) * ay + part * by
    return ((1 - part) * a[0] + part * b[0], math.hypot(mx, my), math.degrees(math.atan2(my, mx)))


def _rgb(lch: _LCH) -> RGB:
    """Return the nearest displayable colour of the same lightness and hue."""
    lightness, chroma, hue = lch
    tries = (_channels(lightness, chroma * (1 - step / 50), hue) for step in range(51))
    channels = next(c for c in tries if all(-1e-4 <= channel <= 1 + 1e-4 for channel in c))
    r, g, b = (round(255 * _gamma(min(1.0, max(0.0, channel)))) for channel in channels)
    return r, g, b


def _channels(lightness: float, chroma: float, hue: float) -> tuple[float, float, float]:
    """Return linear RGB of an OKLCh colour (Ottosson 2020, A perceptual color space)."""
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )


def _gamma(channel: float) -> float:
    return 12.92 * channel if channel <= 0.0031308 else 1.055 * channel ** (1 / 2.4) - 0.055
