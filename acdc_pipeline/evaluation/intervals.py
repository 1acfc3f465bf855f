"""Bootstrap intervals over prompts, of faithfulness and of the areas of its curve.

The intervals are bias-corrected and accelerated, BCa (Efron 1987, "Better bootstrap confidence
intervals", Journal of the American Statistical Association 82; Efron and Tibshirani 1993, "An
Introduction to the Bootstrap", equations 14.9 to 14.15). CMD needs the correction: the absolute
value in it makes it larger on resamples than on the prompts. Prompts are resampled, never measured
again: a resample is the number of times that each prompt occurs in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

RESAMPLES = 1000
LEVEL = 0.95

Interval = tuple[float, float]
"""The low and the high end of a 95 % interval."""

Counts = Float[np.ndarray, "resample prompt"]
"""How often each prompt occurs in each resample."""

Statistic = Callable[[Counts], Float[np.ndarray, " resample"]]
"""From resamples to the value of each; NaN where it is not defined."""


def bootstrap_interval(statistic: Statistic, n: int, *, seed: int) -> Interval | None:
    """Return the 95 % BCa interval of a statistic of `n` prompts; None with fewer than two.

    Resamples on which the statistic is not defined are left out; None if there are no others.
    """
    if n < 2:
        return None
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    values = _finite(statistic(drawn.astype(float)))
    left_out = _finite(statistic(1 - np.eye(n)))
    whole = float(statistic(np.ones((1, n)))[0])
    if not len(values) or not len(left_out) or not math.isfinite(whole):
        return None
    below = float((values < whole).sum() + (values == whole).sum() / 2)
    # Where every resample is on one side of the value, the bias is the largest that is seen.
    share = min(max(below, 0.5), len(values) - 0.5) / len(values)
    bias = NormalDist().inv_cdf(share)
    away = left_out.mean() - left_out
    spread = float((away**2).sum())
    skew = float((away**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0
    tail = NormalDist().inv_cdf((1 + LEVEL) / 2)
    ends = [_shifted(bias, skew, z) for z in (-tail, tail)]
    low, high = np.quantile(values, ends).tolist()
    return low, high


def _shifted(bias: float, skew: float, z: float) -> float:
    """The share of resamples below an end of the interval: equation 14.10."""
    total = bias + z
    left = 1 - skew * total
    return NormalDist().cdf(bias + total / left) if left > 0 else float(total > 0)


def _finite(values: Float[np.ndarray, " some"]) -> Float[np.ndarray, " left"]:
    return values[np.isfinite(values)]


@dataclass(frozen=True)
class PromptScale:
    """The ends of the scale of faithfulness, prompt by prompt.

    Args:
        whole: of each prompt the metric of the whole model, summed over its answers.
        nothing: the same with every edge removed.
        seed: of the resamples, which are the same for all intervals.
    """

    whole: Float[np.ndarray, " prompt"]
    nothing: Float[np.ndarray, " prompt"]
    seed: int

    def faithfulness(self, circuit: Float[np.ndarray, " prompt"]) -> Interval | None:
        """Return the interval of the faithfulness of a circuit, from its metric by prompt."""
        return self._interval(lambda counts: self._ratios(circuit[None], counts)[0])

    def ratio_performance(
        self, fractions: Sequence[float], circuits: Float[np.ndarray, "circuit prompt"]
    ) -> Interval | None:
        """Return the interval of CPR, `circuit_performance_ratio`, of the circuits of a curve."""
        return self._interval(
            lambda counts: np.trapezoid(self._ratios(circuits, counts), fractions, axis=0)
        )

    def model_distance(
        self, fractions: Sequence[float], circuits: Float[np.ndarray, "circuit prompt"]
    ) -> Interval | None:
        """Return the interval of CMD, `circuit_model_distance`, of the circuits of a curve."""
        return self._interval(
            lambda counts: np.trapezoid(
                np.abs(1 - self._ratios(circuits, counts)), fractions, axis=0
            )
        )

    def _interval(self, statistic: Statistic) -> Interval | None:
        return bootstrap_interval(statistic, len(self.whole), seed=self.seed)

    def _ratios(
        self, circuits: Float[np.ndarray, "circuit prompt"], counts: Counts
    ) -> Float[np.ndarray, "circuit resample"]:
        """The faithfulness of each circuit on each resample."""
        above, below = (circuits - self.nothing) @ counts.T, counts @ (self.whole - self.nothing)
        return above / np.where(below == 0, np.nan, below)
