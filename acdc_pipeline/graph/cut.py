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
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph.circuit import Circuit, Rank
from acdc_pipeline.graph.edge import Edge
from acdc_pipeline.graph.topology import Topology

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


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
    (mask,) = cut_masks(topology, score_array(topology, scores), [edges], rank)
    return Circuit(topology, frozenset(topology.edges_in(mask)), scores)


def cut_masks(
    topology: Topology, scores: Float[np.ndarray, " edge"], sizes: Sequence[int], rank: Rank
) -> list[Bool[np.ndarray, " edge"]]:
    """What `cut` keeps at each of several sizes, in one pass over the edges.

    Args:
        topology: the full graph.
        scores: in the order of the topology's `edges`; NaN where an edge may not be kept.
        sizes: each at least 1, at most the edges of the graph.
        rank: as of `cut`.

    Raises:
        GraphError: no circuit has that many edges.
    """
    n_edges = topology.n_edges
    for size in sizes:
        if not 1 <= size <= n_edges:
            raise GraphError(
                f"no circuit of this graph has {size} edges", allowed=f"1 to {n_edges}"
            )
    growth, lengths = _Growth(topology), [0]
    most = max(sizes, default=0)
    for index in _greedy_indices(topology, scores, rank):
        growth.add(index)
        lengths.append(len(growth.live))
        if lengths[-1] > most:
            break
    out = []
    for size in sizes:
        mask = np.zeros(n_edges, dtype=bool)
        mask[growth.live[: max(length for length in lengths if length <= size)]] = True
        out.append(mask)
    return out


def score_array(topology: Topology, scores: Mapping[Edge, float]) -> Float[np.ndarray, " edge"]:
    """Scores in the order of the topology's `edges`, NaN where an edge has none.

    Raises:
        GraphError: a scored edge does not exist.
    """
    out = np.full(topology.n_edges, np.nan)
    values = np.fromiter(scores.values(), dtype=float, count=len(scores))
    if tuple(scores) == topology.edges:
        return values
    out[[topology.edge_index(edge) for edge in scores]] = values
    return out


def greedy_order(topology: Topology, scores: Mapping[Edge, float], rank: Rank) -> Iterator[Edge]:
    """Scored edges, best first among those into `logits` or into sources of edges before them.

    Of equal scores, the edge that comes first in the graph's own order is the better one. An edge
    into a node that no scored path leads on from never comes.
    """
    for index in _greedy_indices(topology, score_array(topology, scores), rank):
        yield topology.edges[index]


def _greedy_indices(
    topology: Topology, scores: Float[np.ndarray, " edge"], rank: Rank
) -> Iterator[int]:
    """`greedy_order` by the places of edges. Each node's edges are sorted once it is reached."""
    worth = np.abs(scores) if rank == "magnitude" else scores
    allowed = (~np.isnan(worth)).nonzero()[0]
    by_destination = allowed[np.argsort(topology.edge_destinations[allowed], kind="stable")]
    ends = np.searchsorted(
        topology.edge_destinations[by_destination], np.arange(len(topology.nodes) + 1)
    )
    sources = topology.edge_sources
    heap: list[tuple[float, int, Iterator[tuple[float, int]]]] = []

    def reach(node: int) -> None:
        into = by_destination[ends[node] : ends[node + 1]]
        into = into[np.argsort(-worth[into], kind="stable")]
        push(iter(zip((-worth[into]).tolist(), into.tolist(), strict=True)))

    def push(candidates: Iterator[tuple[float, int]]) -> None:
        best = next(candidates, None)
        if best is not None:
            heapq.heappush(heap, (*best, candidates))

    logits = len(topology.nodes) - 1
    reached = {logits}
    reach(logits)
    while heap:
        _, index, rest = heapq.heappop(heap)
        yield index
        push(rest)
        source = int(sources[index])
        if source not in reached:
            reached.add(source)
            reach(source)


class _Growth:
    """Edges that lead to the logits, and which of them something leads to from the input."""

    def __init__(self, topology: Topology) -> None:
        self.live: list[int] = []
        self._sources = topology.edge_sources
        self._destinations = topology.edge_destinations
        self._fed = {0}  # `input` is the first node
        self._waiting: dict[int, list[int]] = defaultdict(list)

    def add(self, index: int) -> None:
        """One more edge, whose destination leads to the logits."""
        source = int(self._sources[index])
        self._waiting[source].append(index)
        open_nodes = [source] if source in self._fed else []
        while open_nodes:
            for out in self._waiting.pop(open_nodes.pop(), ()):
                self.live.append(out)
                destination = int(self._destinations[out])
                if destination not in self._fed:
                    self._fed.add(destination)
                    open_nodes.append(destination)
