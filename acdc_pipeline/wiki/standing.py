"""How a head's score stands among all heads of all models, in steps.

Steps and not exact percentiles: whether a head is in the top 1 % is a fact about the head, while
0.3 points of a percentile come and go with every model that is added.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from acdc_pipeline.wiki.numbers import counted

_STEPS = (0.01, 0.05, 0.25)

LEAST_HEADS = 40
"""Of fewer heads nobody can be in the top 5 %."""


@dataclass(frozen=True)
class Standing:
    """Where the highest and the lowest scores begin.

    Args:
        high: the least value of the top 1 %, 5 % and 25 %; empty where there are too few heads.
        low: the largest value of the lowest 1 %, 5 % and 25 %; empty where no score is negative.
        middle: the median.
        heads: heads measured.
        models: models measured.
    """

    high: tuple[float, ...]
    low: tuple[float, ...]
    middle: float
    heads: int
    models: int

    def says(self, value: float) -> str:
        """`top 1 %`, `lowest 5 %`, empty for what is not remarkable."""
        for share, cut in zip(_STEPS, self.high, strict=False):
            if value >= cut and value > self.middle:
                return f"top {100 * share:g}\N{NARROW NO-BREAK SPACE}%"
        for share, cut in zip(_STEPS, self.low, strict=False):
            if value <= cut and value < min(0.0, self.middle):
                return f"lowest {100 * share:g}\N{NARROW NO-BREAK SPACE}%"
        return ""

    @property
    def among(self) -> str:
        """`1,024 heads of 4 models`."""
        return f"{counted(self.heads, 'head')} of {counted(self.models, 'model')}"


def standing(grids: Iterable[np.ndarray]) -> Standing:
    """The steps of one score over all models; cuts have two digits, so that they stay put."""
    parts = [grid[np.isfinite(grid)] for grid in grids]
    values = np.concatenate(parts) if parts else np.zeros(0)
    models = sum(bool(part.size) for part in parts)
    if values.size < LEAST_HEADS:
        return Standing((), (), 0.0, int(values.size), models)
    high = np.quantile(values, [1 - share for share in _STEPS])
    low = np.quantile(values, _STEPS) if values.min() < 0 else []
    return Standing(
        tuple(_two_digits(v) for v in high),
        tuple(_two_digits(v) for v in low),
        _two_digits(float(np.median(values))),
        int(values.size),
        models,
    )


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")
