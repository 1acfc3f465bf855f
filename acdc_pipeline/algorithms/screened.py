"""A search that only some edges take part in; the others go when their receiver is visited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from acdc_pipeline.algorithms.acdc import EdgeSearch
from acdc_pipeline.graph import Edge, Node, Receiver, Topology


@runtime_checkable
class DroppingSearch(EdgeSearch, Protocol):
    """A search that can remove edges without a test."""

    def drop(self, sources: Sequence[Node]) -> None:
        """Remove the edges of `sources` into the visited receiver for good, together."""
        ...


class Screened:
    """Removes from every visited receiver what a screen left out, then searches on.

    To the algorithm it is a search like any other, whose receivers have fewer edges.

    Args:
        search: one that nothing was asked of yet.
        topology: its graph.

    Attributes:
        dropped: what was removed untested.
    """

    def __init__(self, search: DroppingSearch, topology: Topology) -> None:
        self.search = search
        self.topology = topology
        self.dropped: set[Edge] = set()

    def metric(self) -> float:
        """The metric of the circuit so far."""
        return self.search.metric()

    def visit(self, receiver: Receiver, sources: list[Node]) -> bool:
        """Turn to `receiver`, of which the edges of `sources` alone will be tried."""
        resumable = self.search.visit(receiver, sources)
        every = self.topology.sources_of(receiver)
        left_out = [source for source in every if source not in sources]
        self.search.drop(left_out)
        self.dropped |= {Edge.into(source, receiver) for source in left_out}
        return resumable

    def metric_without(self, edge: Edge) -> float:
        """The metric if `edge` were removed as well."""
        return self.search.metric_without(edge)

    def remove(self, edge: Edge) -> None:
        """Remove `edge`, the one tried last, for good."""
        self.search.remove(edge)
