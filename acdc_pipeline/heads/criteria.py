"""Whether a score passes: against its line, its nulls and the other heads of its model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float64

from acdc_pipeline.specs.head_scores import (
    HEADROOM,
    NULL_MARGIN,
    NULL_QUANTILE,
    OUTLIER,
    SATURATED,
    NullKind,
)

Reason = Literal["null saturates", "null reaches the line", "below the line"]
"""Why a value that comes near a line does not pass."""

LEAST_OTHERS = 3
"""Heads that it takes to say how far the heads of a model differ without any reason."""

# Iglewicz & Hoaglin 1993: what makes the median, and the mean, of absolute deviations estimate a
# standard deviation in normal data.
_FROM_MEDIAN, _FROM_MEAN = 1.4826, 1.2533


@dataclass(frozen=True)
class Judgement:
    """One criterion, put to every head. Values and limits have the sign turned that counts.

    Args:
        values: of all heads; higher counts.
        line: what a head must reach.
        usual_line: the same, had no null raised it.
        floor: what is enough for a head that stands out from the others; None where `line` holds
            for all.
        null: what the value has to exceed: the highest 99th percentile of the nulls.
        clear: what the value of a head below the line has to exceed: further from the nulls.
        saturated: the null comes so near the highest possible value that no head can pass.
    """

    values: Float64[np.ndarray, "layer head"]
    line: float
    usual_line: float
    floor: float | None
    null: float
    clear: float
    saturated: bool

    @classmethod
    def of(
        cls,
        values: Float64[np.ndarray, "layer head"],
        *,
        line: float,
        floor: float | None,
        nulls: Sequence[tuple[float, float]],
        bound: float | None,
    ) -> Judgement:
        """The criterion with its line raised where a null reaches past it.

        Args:
            values: of all heads, NaN where there is none.
            line: what a head must reach.
            floor: what is enough for a head that stands out; None where `line` holds for all.
            nulls: 99th percentile and mean of each null.
            bound: the highest value that the score can have; None where there is none. A score
                without bound always leaves room above its null.
        """
        null = max((high for high, _ in nulls), default=-np.inf)
        clear = max((high + NULL_MARGIN * (high - mean) for high, mean in nulls), default=-np.inf)
        if bound is None or null < line:
            return cls(values, line, line, floor, null, clear, saturated=False)
        raised = null + HEADROOM * (bound - null)
        return cls(values, raised, line, None, null, clear, saturated=null >= SATURATED * bound)

    @property
    def exceeds_null(self) -> Bool[np.ndarray, "layer head"]:
        """Which heads have more than chance gives."""
        with np.errstate(invalid="ignore"):
            return self.values > self.null

    @property
    def passed(self) -> Bool[np.ndarray, "layer head"]:
        """Which heads cross the line and exceed the nulls."""
        with np.errstate(invalid="ignore"):
            crossed = self.values >= self.line
            if self.floor is not None:
                candidates = (self.values >= self.floor) & (self.values > self.clear)
                others = self.values[~candidates]
                # what most heads do is not what makes one stand out
                if candidates.sum() <= np.isfinite(others).sum():
                    crossed |= candidates & stands_out(self.values, others)
        return crossed & self.exceeds_null & (not self.saturated)

    def reason(self, value: float) -> Reason:
        """Why a value near the line did not pass."""
        if self.saturated:
            return "null saturates"
        if value >= self.usual_line:
            return "null reaches the line"
        return "below the line"


def stands_out(
    values: Float64[np.ndarray, "layer head"], others: Float64[np.ndarray, " other"]
) -> Bool[np.ndarray, "layer head"]:
    """Which values are outliers above `others`, the heads that show nothing of the kind.

    By the robust z-score of Iglewicz & Hoaglin (1993), from median and median absolute deviation;
    the mean one where most of `others` are equal. Where the values of a model run on from small
    to large without a gap, its larger ones are no outliers. Nothing stands out where there are
    fewer than `LEAST_OTHERS`, and NaN nowhere.
    """
    found = others[np.isfinite(others)]
    if len(found) < LEAST_OTHERS:
        return np.zeros(values.shape, dtype=bool)
    centre = np.median(found)
    deviations = np.abs(found - centre)
    spread = _FROM_MEDIAN * np.median(deviations) or _FROM_MEAN * deviations.mean()
    with np.errstate(invalid="ignore"):
        return values - centre > OUTLIER * spread


@dataclass(frozen=True)
class Null:
    """Values of a score under a null, summed up.

    Args:
        metric: name, version and task of the score.
        kind: what was done so that there is nothing to find.
        low: 1st percentile of the values; a score that is low on purpose has to be below it.
        high: 99th percentile.
        mean: mean of the values.
        n: how many values.
    """

    metric: str
    kind: NullKind
    low: float
    high: float
    mean: float
    n: int

    @classmethod
    def of(cls, metric: str, kind: NullKind, values: Float64[np.ndarray, ...]) -> Null | None:
        """The null of `values`; None where none is a number.

        Percentiles are values that occurred, the further one of two: few values make a strict
        null, never a lenient one.
        """
        found = values[np.isfinite(values)]
        if not len(found):
            return None
        return cls(
            metric=metric,
            kind=kind,
            low=float(np.quantile(found, 1 - NULL_QUANTILE, method="lower")),
            high=float(np.quantile(found, NULL_QUANTILE, method="higher")),
            mean=float(found.mean()),
            n=len(found),
        )

    def plain(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "kind": self.kind,
            "low": self.low,
            "high": self.high,
            "mean": self.mean,
            "n": self.n,
        }
