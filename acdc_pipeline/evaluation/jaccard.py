"""How alike circuits are."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from acdc_pipeline.graph import Circuit

STABLE = 0.8
"""Mean pairwise Jaccard from which a circuit counts as stable under resampled prompts."""


def jaccard(a: Circuit, b: Circuit) -> float:
    """Edges in both over edges in either, 0 to 1; two empty circuits are alike."""
    either = len(a.edges | b.edges)
    return len(a.edges & b.edges) / either if either else 1.0


def mean_pairwise_jaccard(circuits: Sequence[Circuit]) -> float:
    """Mean of `jaccard` over all pairs of at least two circuits. Higher is more stable."""
    pairs = [jaccard(a, b) for a, b in combinations(circuits, 2)]
    return sum(pairs) / len(pairs)
