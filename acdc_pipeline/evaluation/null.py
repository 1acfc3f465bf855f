"""Random circuits: what a circuit of that size is worth that knows nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence

from acdc_pipeline.graph import Circuit, Topology
from acdc_pipeline.graph.cut import cut


def random_circuits(topology: Topology, *, edges: int, n: int, seed: int) -> tuple[Circuit, ...]:
    """`n` connected circuits of at most `edges` edges, of which as many as fit on paths are used.

    Every edge gets a random score, and `graph.cut` takes the best: each edge kept lies on a path
    from `input` to `logits`, as in circuits that a method finds. Another seed draws others.
    """
    return tuple(_drawn(topology, edges, f"{seed} {number}") for number in range(n))


def _drawn(topology: Topology, edges: int, seed: str) -> Circuit:
    rng = random.Random(seed)
    scores = {edge: rng.random() for edge in topology.edges}
    return Circuit(topology, cut(topology, scores, edges=edges, rank="signed").edges)


def percentile(value: float, null: Sequence[float]) -> float:
    """The share of `null` that lies below `value`, 0 to 1; what equals it counts half."""
    below = sum(other < value for other in null)
    return (below + sum(other == value for other in null) / 2) / len(null)
