"""Parts of a circuit that are knocked out together."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Bool, Int

from acdc_pipeline.graph import INPUT, LOGITS, Circuit, Topology

Parts = Mapping[str, Int[np.ndarray, " gone"]]
"""By name, the places among the topology's `edges` of the edges that go when the part goes."""


def parts_by_node(circuit: Circuit) -> dict[str, Int[np.ndarray, " gone"]]:
    """One part a head or MLP of `circuit`: every edge of the whole graph that leads out of it."""
    topology = circuit.topology
    members = [node for node in circuit.nodes if node not in (INPUT, LOGITS)]
    return {
        str(node): (topology.edge_sources == topology.source_index[node]).nonzero()[0]
        for node in members
    }


def parts_by_edge(circuit: Circuit) -> dict[str, Int[np.ndarray, " gone"]]:
    """One part an edge of `circuit`."""
    return {
        str(edge): np.array([circuit.topology.edge_index(edge)]) for edge in circuit.sorted_edges
    }


def random_halves(names: Iterable[str], *, n: int, rng: random.Random) -> list[tuple[str, ...]]:
    """`n` random sets, each name in each of them with probability 1/2."""
    names = list(names)
    return [tuple(name for name in names if rng.random() < 0.5) for _ in range(n)]


def mask_without(
    topology: Topology, parts: Parts, names: Iterable[str]
) -> Bool[np.ndarray, " edge"]:
    """The edges of the whole graph that are left when all of `names` go."""
    mask = np.ones(topology.n_edges, dtype=bool)
    for name in names:
        mask[parts[name]] = False
    return mask
