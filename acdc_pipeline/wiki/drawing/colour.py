"""Colour scales: even steps of lightness in OKLab, one set for light and one for dark pages.

Zero has the colour of the page in both, so that what stands out is what is not zero. The
sequential scale runs through teal to deep blue, the signed one from orange through the page
to blue: pairs that every common form of colour blindness keeps apart, and that differ in lightness
too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Literal

RGB = tuple[int, int, int]
Theme = Literal["light", "dark"]
Scale = Literal["share", "signed"]

THEMES: tuple[Theme, ...] = ("light", "dark")

STEPS = 33
"""Colours of a scale; odd, so that a signed one has its middle."""

_LCH = tuple[float, float, float]
"""Lightness 0..1, chroma, hue in degrees."""

_KNOTS: dict[tuple[Theme, Scale], tuple[_LCH, ...]] = {
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


@cache
def palette(theme: Theme, scale: Scale, steps: int = STEPS) -> tuple[RGB, ...]:
    """`steps` colours from the lowest value to the highest."""
    knots = _KNOTS[theme, scale]
    return tuple(_rgb(_between(knots, step / (steps - 1))) for step in range(steps))


def gradient(theme: Theme, scale: Scale) -> str:
    """The scale as the colour stops of a CSS gradient."""
    return ",".join(_hexadecimal(colour) for colour in palette(theme, scale, 17))


def lightness(colour: RGB) -> float:
    """OKLab lightness of a colour, between 0 (black) and 1 (white)."""
    r, g, b = (_linear(channel / 255) for channel in colour)
    long = 0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b
    middle = 0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b
    short = 0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b
    return (
        0.2104542553 * long ** (1 / 3)
        + 0.7936177850 * middle ** (1 / 3)
        - 0.0040720468 * short ** (1 / 3)
    )


def _between(knots: Sequence[_LCH], share: float) -> _LCH:
    place = share * (len(knots) - 1)
    below = min(int(place), len(knots) - 2)
    part = place - below
    a, b = knots[below], knots[below + 1]
    # Averaged in the plane of colours, so that a grey end does not turn the hue.
    ax, ay = a[1] * math.cos(math.radians(a[2])), a[1] * math.sin(math.radians(a[2]))
    bx, by = b[1] * math.cos(math.radians(b[2])), b[1] * math.sin(math.radians(b[2]))
    mx, my = (1 - part) * ax + part * bx, (1 - part) * ay + part * by
    return ((1 - part) * a[0] + part * b[0], math.hypot(mx, my), math.degrees(math.atan2(my, mx)))


def _rgb(lch: _LCH) -> RGB:
    """The nearest colour of a screen: chroma gives way, lightness and hue stay."""
    lightness_, chroma, hue = lch
    tries = (_channels(lightness_, chroma * (1 - step / 50), hue) for step in range(51))
    channels = next(c for c in tries if all(-1e-4 <= channel <= 1 + 1e-4 for channel in c))
    r, g, b = (round(255 * _gamma(min(1.0, max(0.0, channel)))) for channel in channels)
    return r, g, b


def _channels(lightness_: float, chroma: float, hue: float) -> tuple[float, float, float]:
    """Linear red, green and blue of an OKLCh colour (Ottosson 2020, A perceptual color space)."""
    a, b = chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))
    long = (lightness_ + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness_ - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness_ - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )


def _gamma(channel: float) -> float:
    return 12.92 * channel if channel <= 0.0031308 else 1.055 * channel ** (1 / 2.4) - 0.055


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4


def _hexadecimal(colour: RGB) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
