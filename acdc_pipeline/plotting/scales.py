"""Scales of scores and their colours: even steps of OKLab lightness, for light and dark pages.

Zero has the colour of the page, so that only other values stand out. The scale of shares runs
through teal to deep blue, the signed one from orange through the page colour to blue: pairs that
differ in lightness and that readers with any common form of colour blindness can tell apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
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

# STEPS colours per palette, as RRGGBB in hexadecimal, lowest score first. Each palette is an
# interpolation in OKLCh between five or six chosen colours.
_COLOURS: dict[tuple[Theme, ScaleKind], str] = {
    ("light", "share"): (
        "f6f5efedf3ebe5f1e6dceee2d3ecddcae9d9c1e7d4b5e2d1a7dccd99d5ca8acfc6"
        "7bc8c36bc2bf5bbbbc51b1b946a8b63a9eb32e94b0208bac0d81a90b78a40f6e9f"
        "12649a145b9416518f17478a183f831938791a316f1a2a661a235d191c5417164b"
    ),
    ("light", "signed"): (
        "7a2a01853508913f119c4a18a85420b35f27bf6a2ecb7436d77f3ddc8e56e19d6e"
        "e5ac84e9ba99ecc8afefd7c4f2e5d9f5f3efe0e7ebcbdbe7b7cfe3a2c3de8eb7da"
        "79abd5639fd04d92ca4587c13e7cb83771ae3066a5295b9c2350931d468a173b80"
    ),
    ("dark", "share"): (
        "1d21261e242f1f2838202c42202f4b21335521365e213d6720446f1e4c771b547f"
        "165d870e658f046e9707789b0b829f108ca21696a61ba1a920abad37b3af4bbbb0"
        "5dc3b16ccab37bd2b48ad9b599e0b6a9e4b8b9e8bac8ebbbd7efbde6f3bff4f7c0"
    ),
    ("dark", "signed"): (
        "fec583f4b778eaaa6ce09d61d68f55cc824ac1753eb76833ad5b279a542a874d2b"
        "74462c623e2c51372b3f302a2e28281e2125222a35263445293f562c49682f5479"
        "325f8c346a9f3675b24282bb4d8fc5599ccf65aad871b7e27dc5eb89d3f595e1ff"
    ),
}


@dataclass(frozen=True)
class ScoreScale:
    """The range of a score, the same for all models; values outside are shown at its ends.

    Args:
        low: 0, or -`high` for a score with both signs.
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
def palette(theme: Theme, kind: ScaleKind) -> tuple[RGB, ...]:
    """Return the `STEPS` colours of a scale, from the lowest value to the highest."""
    r, g, b = (bytes.fromhex(_COLOURS[theme, kind])[channel::3] for channel in range(3))
    return tuple(zip(r, g, b, strict=True))


def gradient(theme: Theme, kind: ScaleKind) -> str:
    """Return the colour stops of a CSS gradient."""
    return ",".join("#{:02x}{:02x}{:02x}".format(*colour) for colour in palette(theme, kind)[::2])
