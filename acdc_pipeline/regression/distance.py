"""How far apart two findings are, statistic by statistic."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from acdc_pipeline.graph import Edge
from acdc_pipeline.graph.circuit import jaccard
from acdc_pipeline.regression.finding import Finding

EDGES, HEADS, SIZE, RANKING = "edges", "heads", "size", "ranking"
"""Statistics of circuits; every other statistic is a metric, by its name."""

LEAST_RANKED = 3
"""Fewer shared edges have no order to speak of."""


def distances(a: Finding, b: Finding) -> dict[str, float]:
    """The distance of two findings in each statistic; 0 where they agree, never negative.

    `edges` and `heads` are 1 - Jaccard of the sets; `size` is the difference in edges; `ranking`
    is 1 - Spearman's correlation of |score| over the edges of both circuits, and is left out where
    they have fewer than three or all alike; metrics, in their own unit, are compared where both
    findings have them.
    """
    found = {
        EDGES: 1 - jaccard(a.circuit.edges, b.circuit.edges),
        HEADS: 1 - jaccard(a.heads, b.heads),
        SIZE: float(abs(len(a.circuit) - len(b.circuit))),
    }
    correlation = rank_correlation(a.circuit.scores, b.circuit.scores)
    if correlation is not None:
        found[RANKING] = 1 - correlation
    for name in sorted(set(a.metrics) & set(b.metrics)):
        found[name] = abs(a.metrics[name] - b.metrics[name])
    return found


def rank_correlation(a: Mapping[Edge, float], b: Mapping[Edge, float]) -> float | None:
    """Spearman's correlation of |score| over the edges that both have; None where undefined."""
    shared = sorted(set(a) & set(b), key=str)
    if len(shared) < LEAST_RANKED:
        return None
    x, y = (_ranks(np.array([abs(scores[edge]) for edge in shared])) for scores in (a, b))
    if not (x.std() > 0 and y.std() > 0):
        return None
    # rounding leaves it a little off, and no two equal orders may differ by that
    return 1.0 if np.array_equal(x, y) else float(np.clip(np.corrcoef(x, y)[0, 1], -1, 1))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]
