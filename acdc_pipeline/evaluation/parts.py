"""Parts of a circuit: sets of edges that are removed together."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Bool, Int

from acdc_pipeline.graph import INPUT, Circuit, Topology

Parts = Mapping[str, Int[np.ndarray, " removed"]]
"""For each part, by name, the indices in `topology.edges` of the edges it removes."""


def parts_by_node(circuit: Circuit) -> dict[str, Int[np.ndarray, " removed"]]:
    """Return a part per head and MLP of `circuit`: all edges of the full graph that leave it.

    An expert is a part too. A router, which writes nothing, is none.
    """
    topology = circuit.topology
    members = [node for node in circuit.nodes if node in topology.source_index and node != INPUT]
    return {
        str(node): (topology.edge_sources == topology.source_index[node]).nonzero()[0]
        for node in members
    }


def random_halves(names: Iterable[str], *, n: int, rng: random.Random) -> list[tuple[str, ...]]:
    """Return `n` random subsets, each name in each of them with probability 1/2."""
    names = list(names)
    return [tuple(name for name in names if rng.random() < 0.5) for _ in range(n)]


def mask_without(
    topology: Topology, parts: Parts, names: Iterable[str]
) -> Bool[np.ndarray, " edge"]:
    """Return the edges of the full graph that remain without the parts `names`."""
    mask = np.ones(topology.n_edges, dtype=bool)
    for name in names:
        mask[parts[name]] = False
    return mask
