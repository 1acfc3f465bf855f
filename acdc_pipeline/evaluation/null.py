"""Random circuits: what a circuit of that size is worth that knows nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool

from acdc_pipeline.graph import Circuit, Topology
from acdc_pipeline.graph.cut import cut_masks


def random_circuits(topology: Topology, *, edges: int, n: int, seed: int) -> tuple[Circuit, ...]:
    """`n` connected circuits of at most `edges` edges, of which as many as fit on paths are used.

    Every edge gets a random score, and `graph.cut` takes the best: each edge kept lies on a path
    from `input` to `logits`, as in circuits that a method finds. Another seed draws others.
    """
    masks = random_masks(topology, edges=edges, n=n, seed=seed)
    return tuple(Circuit(topology, frozenset(topology.edges_in(mask))) for mask in masks)


def random_masks(
    topology: Topology, *, edges: int, n: int, seed: int
) -> Iterator[Bool[np.ndarray, " edge"]]:
    """The edges of each of `random_circuits`, as masks over the topology's `edges`."""
    for number in range(n):
        yield _drawn(topology, edges, f"{seed} {number}")


def _drawn(topology: Topology, edges: int, seed: str) -> Bool[np.ndarray, " edge"]:
    rng = random.Random(seed)
    scores = np.array([rng.random() for _ in range(topology.n_edges)])
    return cut_masks(topology, scores, [edges], "signed")[0]


def percentile(value: float, null: Sequence[float]) -> float:
    """The share of `null` that lies below `value`, 0 to 1; what equals it counts half."""
    below = sum(other < value for other in null)
    return (below + sum(other == value for other in null) / 2) / len(null)
