"""The scale of one score, the same in every model: where zero is, where colours and bars end."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from acdc_pipeline.wiki.drawing.colour import STEPS, Scale
from acdc_pipeline.wiki.drawing.png import MISSING

_QUANTILE = 0.998
_ROUND = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


@dataclass(frozen=True)
class Ruler:
    """From `low` to `high`; values beyond stand at the ends.

    Args:
        low: 0, or -`high` where the score has two signs.
        high: a round number.
        exceeded: whether some values lie beyond.
    """

    low: float
    high: float
    exceeded: bool = False

    @property
    def scale(self) -> Scale:
        """Which colours it takes."""
        return "share" if self.low == 0 else "signed"

    @property
    def zero(self) -> float:
        """Where zero is, between 0 and 1."""
        return self.place(0.0)

    def place(self, value: float) -> float:
        """Where `value` is, between 0 (at `low`) and 1 (at `high`)."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def colours(self, values: np.ndarray) -> UInt8[np.ndarray, "row column"]:
        """The colour of each value as an index for `indexed_png`; NaN is missing."""
        shares = np.clip((values - self.low) / (self.high - self.low), 0.0, 1.0)
        known = np.isfinite(shares)
        steps = np.rint(np.where(known, shares, 0.0) * (STEPS - 1)).astype(np.uint8)
        return np.where(known, steps + 1, MISSING).astype(np.uint8)


def ruler(low: float | None, high: float | None, values: Iterable[np.ndarray]) -> Ruler:
    """The scale for a score over all models.

    Args:
        low, high: the least and the largest possible value, None where there is none. A score that
            cannot be negative begins at 0; any other has its zero in the middle.
        values: the score in each model. Where nothing bounds it, the scale ends at the round number
            above nearly all of them, so that one wild head does not make the rest look like
            nothing.
    """
    negative = low is None or low < 0
    if low is not None and high is not None:
        return Ruler(-high if negative else 0.0, high)
    parts = [np.abs(v[np.isfinite(v)]) for v in values]
    sizes = np.concatenate(parts) if parts else np.zeros(0)
    if not sizes.size or not sizes.max() > 0:
        return Ruler(-1.0 if negative else 0.0, 1.0)
    end = _round_up(float(np.quantile(sizes, _QUANTILE)) or float(sizes.max()))
    return Ruler(-end if negative else 0.0, end, bool(sizes.max() > end))


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    factor = next(f for f in _ROUND if f * power >= value * (1 - 1e-9))
    return float(f"{factor * power:.12g}")
