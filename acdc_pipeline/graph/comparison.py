"""What two circuits of one graph share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from acdc_pipeline.graph.circuit import Circuit, jaccard
from acdc_pipeline.graph.edge import Edge
from acdc_pipeline.graph.node import Node
from acdc_pipeline.text import pluralize

if TYPE_CHECKING:
    from acdc_pipeline.plotting.svg import Drawing

Item = TypeVar("Item", bound=Hashable)


@dataclass(frozen=True)
class Overlap(Generic[Item]):
    """Two sets: what only the first has, what both have, and what only the second has."""

    only_a: tuple[Item, ...]
    both: tuple[Item, ...]
    only_b: tuple[Item, ...]

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many items are only in the first, in both, and only in the second."""
        return len(self.only_a), len(self.both), len(self.only_b)

    @property
    def jaccard(self) -> float:
        """Items of both over items of either, from 0 to 1; 1 for two empty sets."""
        return jaccard((*self.only_a, *self.both), (*self.both, *self.only_b))


def overlap(
    a: Iterable[Item], b: Iterable[Item], key: Callable[[Item], Any] | None = None
) -> Overlap[Item]:
    """Compare two sets; each part of the result is sorted, by `key` if given."""
    one, other = set(a), set(b)
    parts = (one - other, one & other, other - one)
    only_a, both, only_b = (tuple(sorted(part, key=key)) for part in parts)  # pyright: ignore
    return Overlap(only_a, both, only_b)


@dataclass(frozen=True, repr=False)
class CircuitComparison:
    """Two circuits of one graph: `a`, and `b` that it is compared with."""

    a: Circuit
    b: Circuit

    def __post_init__(self) -> None:
        self.a.check_same_graph(self.b)

    @cached_property
    def edges(self) -> Overlap[Edge]:
        """The edges that both keep, and those that one of them keeps, in the graph's order."""
        return overlap(self.a.edges, self.b.edges, self.a.topology.edge_index)

    @cached_property
    def nodes(self) -> Overlap[Node]:
        """The same for the nodes of the kept edges, in computation order."""
        order = {node: index for index, node in enumerate(self.a.topology.nodes)}
        return overlap(self.a.nodes, self.b.nodes, order.__getitem__)

    @property
    def jaccard(self) -> float:
        """Edges of both over edges of either, from 0 to 1, higher is more alike."""
        return self.edges.jaccard

    @property
    def precision(self) -> float | None:
        """Share of the edges of `a` that `b` has, from 0 to 1; None if `a` is empty."""
        return len(self.edges.both) / len(self.a) if len(self.a) else None

    @property
    def recall(self) -> float | None:
        """Share of the edges of `b` that `a` has, from 0 to 1; None if `b` is empty."""
        return len(self.edges.both) / len(self.b) if len(self.b) else None

    def __repr__(self) -> str:
        only_a, both, only_b = self.edges.counts
        return (
            f"<comparison: {pluralize(both, 'edge')} in both, "
            f"{only_a} only in A, {only_b} only in B, "
            f"Jaccard {self.jaccard:.3f} of edges, {self.nodes.jaccard:.3f} of nodes>"
        )

    def _repr_svg_(self) -> str:
        return self.draw().svg

    def draw(self) -> Drawing:
        """Draw how many edges and nodes the circuits share, as bars."""
        from acdc_pipeline.plotting.overlap import OverlapRow, draw_overlap
        from acdc_pipeline.plotting.svg import Drawing

        names = [
            side if title is None else f"{side} ({title})"
            for side, title in (("A", self.a.title), ("B", self.b.title))
        ]
        row = OverlapRow("shared", self.edges.counts, None, self.nodes.counts)
        return Drawing(draw_overlap(names[0], names[1], [row]))
