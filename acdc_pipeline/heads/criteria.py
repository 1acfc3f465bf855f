"""Whether the scores of heads meet a criterion, given its line, nulls and the model's other heads.

Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
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
"""Why a value near a line does not pass."""

LEAST_OTHERS = 3
"""The number of other heads below which no head can be an outlier."""

# Iglewicz & Hoaglin 1993: factors by which the median, and the mean, of absolute deviations
# estimate a standard deviation in normal data.
_FROM_MEDIAN, _FROM_MEAN = 1.4826, 1.2533


@dataclass(frozen=True)
class Null:
    """Summary of a score's values under a null.

    Args:
        metric: name, version and task of the score.
        kind: the intervention that leaves nothing to find.
        low: 1st percentile of the values; a negative score has to be below it.
        high: 99th percentile.
    """

    metric: str
    kind: NullKind
    low: float
    high: float
    mean: float
    n: int

    @classmethod
    def of(cls, metric: str, kind: NullKind, values: Float64[np.ndarray, ...]) -> Null | None:
        """The null of `values`; None if none of them is finite.

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
        """As JSON data, without the metric."""
        return {name: value for name, value in asdict(self).items() if name != "metric"}


def nulls_of(metric: str, kind: NullKind, values: Float64[np.ndarray, ...]) -> list[Null]:
    """The null of `values`, or an empty list if none of them is finite."""
    null = Null.of(metric, kind, values)
    return [] if null is None else [null]


@dataclass(frozen=True)
class CriterionCheck:
    """A criterion, checked for every head. Values and limits are signed so that higher counts.

    Args:
        values: of all heads; NaN where there is none.
        line: the value that a head must reach.
        usual_line: the same, before a null raised it.
        floor: the value that is enough for an outlier among the model's heads; None if `line` holds
            for all.
        null: the value to exceed: the highest 99th percentile of the nulls.
        clear: the value that a head below the line has to exceed: further from the nulls.
        saturated: the null is so near the highest possible value that no head can pass.
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
    ) -> CriterionCheck:
        """Check a criterion, with its line raised where a null exceeds it.

        Args:
            line: the usual line.
            nulls: 99th percentile and mean of each null.
            bound: the highest value that the score can have; None if there is none, which always
                leaves room above a null.
        """
        null = max((high for high, _ in nulls), default=-np.inf)
        clear = max((high + NULL_MARGIN * (high - mean) for high, mean in nulls), default=-np.inf)
        if bound is None or null < line:
            return cls(values, line, line, floor, null, clear, saturated=False)
        raised = null + HEADROOM * (bound - null)
        return cls(values, raised, line, None, null, clear, saturated=null >= SATURATED * bound)

    @property
    def exceeds_null(self) -> Bool[np.ndarray, "layer head"]:
        """The heads whose value is above the nulls."""
        with np.errstate(invalid="ignore"):
            return self.values > self.null

    @property
    def passed(self) -> Bool[np.ndarray, "layer head"]:
        """The heads that reach the line and exceed the nulls."""
        with np.errstate(invalid="ignore"):
            reached = self.values >= self.line
            if self.floor is not None:
                candidates = (self.values >= self.floor) & (self.values > self.clear)
                others = self.values[~candidates]
                # If most heads are candidates, none of them is an outlier.
                if candidates.sum() <= np.isfinite(others).sum():
                    reached |= candidates & are_outliers(self.values, others)
        return reached & self.exceeds_null & (not self.saturated)

    def reason(self, value: float) -> Reason:
        """Why a value near the line did not pass."""
        if self.saturated:
            return "null saturates"
        if value >= self.usual_line:
            return "null reaches the line"
        return "below the line"


def are_outliers(
    values: Float64[np.ndarray, "layer head"], others: Float64[np.ndarray, " other"]
) -> Bool[np.ndarray, "layer head"]:
    """Which values are outliers above `others`, the values of heads that are no candidates.

    By the robust z-score of Iglewicz & Hoaglin (1993), from median and median absolute deviation,
    or the mean one where most of `others` are equal. If the values of a model range from small to
    large without a gap, its large ones are no outliers. Neither is NaN, nor any value if there are
    fewer than `LEAST_OTHERS`.
    """
    found = others[np.isfinite(others)]
    if len(found) < LEAST_OTHERS:
        return np.zeros(values.shape, dtype=bool)
    centre = np.median(found)
    deviations = np.abs(found - centre)
    spread = _FROM_MEDIAN * np.median(deviations) or _FROM_MEAN * deviations.mean()
    with np.errstate(invalid="ignore"):
        return values - centre > OUTLIER * spread
