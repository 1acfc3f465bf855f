"""Cutting a circuit of a given size from a score for every edge.

Edges are taken greedily, beginning at the logits: of the edges into nodes already reached, always
the best (Hanna et al. 2024, arXiv 2403.17806), so that every node taken has a path to the logits.
Only edges that are also on a path from the input are counted and kept; no childless or parentless
nodes remain. EAP-IG's own code counts the edges before it prunes. Here the size is that after
pruning, so a circuit of n edges has n edges wherever the graph allows it, and smaller circuits are
subsets of larger ones. Counted this way, pruning the best n edges of the whole graph ("top-n")
gives the same circuits, in larger steps.

With a share p of positive edges (the positive-negative ratio of Nikankin et al. 2025, arXiv
2510.25786), an edge is the best one with a score above 0 whenever fewer than p of the edges taken,
with this one, would be positive otherwise; else it is the best of either sign.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph.circuit import Circuit, Rank
from acdc_pipeline.graph.edge import Edge
from acdc_pipeline.graph.flow import Flow, flow_of
from acdc_pipeline.graph.topology import Topology

if TYPE_CHECKING:
    from jaxtyping import Bool, Float


def cut(topology: Topology, scores: Mapping[Edge, float], *, edges: int, rank: Rank) -> Circuit:
    """Return the best circuit of at most `edges` edges, all on a path from `input` to `logits`.

    It is empty if the first complete path already has more edges.

    Args:
        scores: of the edges that may be kept; all become scores of the circuit.
        edges: at least 1, at most the number of edges of the graph.
        rank: whether edges are ranked by |score| or by signed score (higher means more needed).

    Raises:
        GraphError: a scored edge does not exist, or no circuit has that many edges.
    """
    (mask,) = cut_masks(topology, score_array(topology, scores), [edges], rank)
    return Circuit(topology, frozenset(topology.edges_in(mask)), scores)


def cut_masks(
    topology: Topology,
    scores: Float[np.ndarray, " edge"],
    sizes: Sequence[int],
    rank: Rank,
    positive_share: float = 0.0,
) -> list[Bool[np.ndarray, " edge"]]:
    """Return the edges that `cut` keeps at each of several sizes, in one pass over the edges.

    Args:
        scores: in the order of `topology.edges`; NaN for edges that may not be kept.
        sizes: each at least 1, at most the number of edges of the graph.
        rank: as in `cut`.
        positive_share: at least this share of the edges taken, 0 to 1, has a score above 0, as long
            as there are such edges to take.

    Raises:
        GraphError: no circuit has that many edges.
    """
    n_edges = topology.n_edges
    for size in sizes:
        if not 1 <= size <= n_edges:
            problem = f"no circuit of this graph has {size} edges"
            raise GraphError(problem, allowed=f"1 to {n_edges}")
    growth, lengths = _Growth(topology), [0]
    most = max(sizes, default=0)
    for index in greedy_indices(topology, scores, rank, positive_share):
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


def least_size(
    topology: Topology, scores: Float[np.ndarray, " edge"], rank: Rank, positive_share: float = 0.0
) -> int | None:
    """Return the number of edges of the smallest circuit that `cut_masks` makes and is not empty.

    These are the edges of the first complete path from `input` to `logits`; None if the scored
    edges hold no such path.
    """
    growth = _Growth(topology)
    for index in greedy_indices(topology, scores, rank, positive_share):
        growth.add(index)
        if growth.live:
            return len(growth.live)
    return None


def score_array(topology: Topology, scores: Mapping[Edge, float]) -> Float[np.ndarray, " edge"]:
    """Return scores in the order of `topology.edges`, NaN for edges without one.

    Raises:
        GraphError: a scored edge does not exist.
    """
    values = np.fromiter(scores.values(), dtype=float, count=len(scores))
    if tuple(scores) == topology.edges:
        return values
    out = np.full(topology.n_edges, np.nan)
    out[[topology.edge_index(edge) for edge in scores]] = values
    return out


def greedy_indices(
    topology: Topology,
    scores: Float[np.ndarray, " edge"],
    rank: Rank,
    positive_share: float = 0.0,
) -> Iterator[int]:
    """Yield edge indices, best first among those into `logits` or into sources of earlier edges.

    Of equal scores, the first in `topology.edges` is the better one. Edges into nodes from which no
    scored path leads to the logits are never reached.

    Args:
        positive_share: as in `cut_masks`.
    """
    flow = flow_of(topology)
    worth = np.abs(scores) if rank == "magnitude" else scores
    if not positive_share:
        frontier = _Frontier(flow, worth)
        while (index := frontier.take()) is not None:
            yield index
            frontier.reach(flow.inputs_of.get(int(flow.source[index]), ()))
        return
    above = scores > 0
    positive = _Frontier(flow, np.where(above, worth, np.nan))
    others = _Frontier(flow, np.where(above, np.nan, worth))
    taken = positives = 0
    while positive.best is not None or others.best is not None:
        due = positives < positive_share * (taken + 1)
        is_positive = positive.comes_before(others) or (due and positive.best is not None)
        index = (positive if is_positive else others).take()
        assert index is not None
        yield index
        taken, positives = taken + 1, positives + is_positive
        for frontier in (positive, others):
            frontier.reach(flow.inputs_of.get(int(flow.source[index]), ()))


class _Frontier:
    """The candidates into inputs that are reached, of which the best is taken first.

    Args:
        worth: of every edge of the graph; NaN for edges that are no candidates.
    """

    def __init__(self, flow: Flow, worth: Float[np.ndarray, " edge"]) -> None:
        self._worth = worth
        scored = (~np.isnan(worth)).nonzero()[0]
        self._by_destination = scored[np.argsort(flow.destination[scored], kind="stable")]
        ends = np.arange(flow.n_inputs + 1)
        self._ends = np.searchsorted(flow.destination[self._by_destination], ends)
        self._heap: list[tuple[float, int, Iterator[tuple[float, int]]]] = []
        self._reached: set[int] = set()
        self.reach(flow.ends)

    @property
    def best(self) -> tuple[float, int] | None:
        """The worth of the best candidate, negated, and its index; None without candidates."""
        return self._heap[0][:2] if self._heap else None

    def comes_before(self, other: _Frontier) -> bool:
        """Whether the best candidate of all is one of these."""
        mine, theirs = self.best, other.best
        return mine is not None and (theirs is None or mine < theirs)

    def reach(self, numbers: Iterable[int]) -> None:
        """Add the edges into some inputs. The edges of an input are sorted only here."""
        for number in numbers:
            if number in self._reached:
                continue
            self._reached.add(number)
            into = self._by_destination[self._ends[number] : self._ends[number + 1]]
            worth = self._worth[into]
            order = np.argsort(-worth, kind="stable")
            self._push(iter(zip((-worth[order]).tolist(), into[order].tolist(), strict=True)))

    def take(self) -> int | None:
        """Remove the best candidate and return its index."""
        if not self._heap:
            return None
        _, index, rest = heapq.heappop(self._heap)
        self._push(rest)
        return index

    def _push(self, candidates: Iterator[tuple[float, int]]) -> None:
        best = next(candidates, None)
        if best is not None:
            heapq.heappush(self._heap, (*best, candidates))


class _Growth:
    """Grows a circuit from the logits and keeps track of the edges reachable from the input."""

    def __init__(self, topology: Topology) -> None:
        self.live: list[int] = []
        self._flow = flow_of(topology)
        self._reachable = set(self._flow.starts)
        self._waiting: dict[int, list[int]] = defaultdict(list)

    def add(self, index: int) -> None:
        """Add an edge whose destination has a path to the logits."""
        flow = self._flow
        source = int(flow.source[index])
        self._waiting[source].append(index)
        open_outputs = [source] if source in self._reachable else []
        while open_outputs:
            for out in self._waiting.pop(open_outputs.pop(), ()):
                self.live.append(out)
                for output in flow.outputs_of[int(flow.destination[out])]:
                    if output not in self._reachable:
                        self._reachable.add(output)
                        open_outputs.append(output)
