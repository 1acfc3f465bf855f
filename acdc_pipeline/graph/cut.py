"""A circuit of a given size from a score for every edge.

Edges are taken one by one, beginning at the logits: of those that lead into a node already
reached, always the best (the greedy search of Hanna et al. 2024, arXiv 2403.17806). So no node is
taken without a way to the logits. What the circuit counts and keeps are those on a path from the
input as well: neither childless nor parentless nodes remain. EAP-IG's own code counts the edges
before it prunes; here the size is what is left, so that a circuit of n edges has n edges wherever
the graph allows it, and smaller circuits are parts of larger ones. Counted this way, taking the
best n edges of the whole graph ("top-n") and then pruning comes to the same circuits, in larger
steps.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Literal

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph.circuit import Circuit
from acdc_pipeline.graph.edge import Edge
from acdc_pipeline.graph.node import INPUT, LOGITS, Node
from acdc_pipeline.graph.topology import Topology

Rank = Literal["magnitude", "signed"]


def cut(topology: Topology, scores: Mapping[Edge, float], *, edges: int, rank: Rank) -> Circuit:
    """The best circuit of at most `edges` edges, all on a path from `input` to `logits`.

    The longest run of `greedy_order` whose part on such paths is not larger. Empty where that of
    every run is larger, since the shortest path already has more edges than asked for.

    Args:
        topology: the full graph.
        scores: of the edges that may be kept; the circuit has them all as its scores.
        edges: at least 1, at most those of the graph.
        rank: whether `magnitude` alone counts, or `signed` scores do (higher means more needed).

    Raises:
        GraphError: a scored edge does not exist, or no circuit has that many edges.
    """
    if not 1 <= edges <= topology.n_edges:
        raise GraphError(
            f"no circuit of this graph has {edges} edges", allowed=f"1 to {topology.n_edges}"
        )
    growth, size = _Growth(), 0
    for edge in greedy_order(topology, scores, rank):
        growth.add(edge)
        if len(growth.live) > edges:
            break
        size = len(growth.live)
    return Circuit.of(topology, growth.live[:size], scores)


def greedy_order(topology: Topology, scores: Mapping[Edge, float], rank: Rank) -> Iterator[Edge]:
    """Scored edges, best first among those into `logits` or into sources of edges before them.

    Of equal scores, the edge that comes first in the graph's own order is the better one. An edge
    into a node that no scored path leads on from never comes.
    """
    into: dict[Node, list[tuple[float, int]]] = defaultdict(list)
    every = topology.edges
    for index, edge in enumerate(every):
        if edge in scores:
            score = scores[edge]
            into[edge.dst].append((-(abs(score) if rank == "magnitude" else score), index))
    candidates = list(into[LOGITS])
    heapq.heapify(candidates)
    reached = {LOGITS}
    while candidates:
        _, index = heapq.heappop(candidates)
        edge = every[index]
        yield edge
        if edge.src not in reached:
            reached.add(edge.src)
            for candidate in into[edge.src]:
                heapq.heappush(candidates, candidate)


class _Growth:
    """Edges that lead to the logits, and which of them something leads to from the input."""

    def __init__(self) -> None:
        self.live: list[Edge] = []
        self._fed = {INPUT}
        self._waiting: dict[Node, list[Edge]] = defaultdict(list)

    def add(self, edge: Edge) -> None:
        """One more edge, whose destination leads to the logits."""
        self._waiting[edge.src].append(edge)
        open_nodes = [edge.src] if edge.src in self._fed else []
        while open_nodes:
            for out in self._waiting.pop(open_nodes.pop(), ()):
                self.live.append(out)
                if out.dst not in self._fed:
                    self._fed.add(out.dst)
                    open_nodes.append(out.dst)
