"""CPR and CMD: a faithfulness curve in one number each, as the MIB benchmark defines them.

Mueller et al. 2025, "MIB: A Mechanistic Interpretability Benchmark" (arXiv 2504.13151), section 3.
Both are trapezoidal sums over the fractions of edges at which circuits were measured, 0.001 to 1
there; the fraction stands on a linear axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from acdc_pipeline.evaluation.curve import Point


def circuit_performance_ratio(points: Sequence[Point]) -> float:
    """CPR: area under the faithfulness curve. Higher is better; it may be above 1 or below 0.

    It asks for components that push the metric up, so it rewards circuits that do better than the
    model. A circuit that is perfect at every fraction has 0.999 over 0.001 to 1.
    """
    return _area((p.fraction, p.faithfulness) for p in points)


def circuit_model_distance(points: Sequence[Point]) -> float:
    """CMD: area between the faithfulness curve and 1. Lower is better; 0 is the best.

    It asks for components that make up the model's behaviour, so more than the model is as wrong
    as less.
    """
    return _area((p.fraction, abs(1 - p.faithfulness)) for p in points)


def _area(points: Iterable[tuple[float, float]]) -> float:
    return sum((x1 - x0) * (y0 + y1) / 2 for (x0, y0), (x1, y1) in pairwise(points))
