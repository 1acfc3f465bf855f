"""What a score is worth: how high it gets where there is nothing to find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from acdc_pipeline.specs.head_scores import NULL_QUANTILE, NullKind


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
