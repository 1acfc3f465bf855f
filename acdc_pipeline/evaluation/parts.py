"""Parts of a circuit that are knocked out together."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping

from acdc_pipeline.graph import INPUT, LOGITS, Circuit, Edge

Parts = Mapping[str, frozenset[Edge]]
"""By name, the edges that go when the part goes."""


def parts_by_node(circuit: Circuit) -> dict[str, frozenset[Edge]]:
    """One part a head or MLP of `circuit`: every edge of the whole graph that leads out of it."""
    members = [node for node in circuit.nodes if node not in (INPUT, LOGITS)]
    return {
        str(node): frozenset(edge for edge in circuit.topology.edges if edge.src == node)
        for node in members
    }


def parts_by_edge(circuit: Circuit) -> dict[str, frozenset[Edge]]:
    """One part an edge of `circuit`."""
    return {str(edge): frozenset({edge}) for edge in circuit.sorted_edges}


def random_halves(names: Iterable[str], *, n: int, rng: random.Random) -> list[tuple[str, ...]]:
    """`n` random sets, each name in each of them with probability 1/2."""
    names = list(names)
    return [tuple(name for name in names if rng.random() < 0.5) for _ in range(n)]


def edges_of(parts: Parts, names: Iterable[str]) -> frozenset[Edge]:
    """The edges that go when all of `names` go."""
    return frozenset[Edge]().union(*(parts[name] for name in names))
