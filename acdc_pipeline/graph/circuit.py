"""A circuit: the edges kept, with the graph they were cut from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from acdc_pipeline.graph.edge import Edge
from acdc_pipeline.graph.node import INPUT, LOGITS, Node
from acdc_pipeline.graph.topology import Topology

if TYPE_CHECKING:
    from networkx import MultiDiGraph

    from acdc_pipeline.plotting.svg import Drawing

Rank = Literal["magnitude", "signed"]
"""How scores are put in order: by size alone, or with their sign (higher means more needed)."""


@dataclass(frozen=True, repr=False)
class Circuit:
    """The set of edges kept, with the graph it was cut from.

    Args:
        topology: the full graph.
        edges: the edges kept; each must exist in `topology`.
        scores: a number per edge where the method gives one (its own sign and unit); may
            cover removed edges too, may be empty.

    Raises:
        GraphError: an edge or a scored edge does not exist in `topology`.
    """

    topology: Topology
    edges: frozenset[Edge]
    scores: Mapping[Edge, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for edge in self.edges:
            self.topology.check(edge)
        # A score for every edge, as methods give them, is compared at once.
        if tuple(self.scores) != self.topology.edges:
            for edge in self.scores:
                self.topology.check(edge)

    @classmethod
    def of(
        cls,
        topology: Topology,
        edges: Iterable[Edge | str],
        scores: Mapping[Edge, float] | None = None,
    ) -> Circuit:
        """A circuit from edges or their names (`a0.h1->a5.h3<k>`)."""
        parsed = frozenset(Edge.parse(e) if isinstance(e, str) else e for e in edges)
        return cls(topology, parsed, dict(scores or {}))

    @classmethod
    def full(cls, topology: Topology) -> Circuit:
        """The whole graph as a circuit."""
        return cls(topology, topology.edge_set)

    def __len__(self) -> int:
        return len(self.edges)

    def __contains__(self, edge: Edge) -> bool:
        return edge in self.edges

    def __repr__(self) -> str:
        return f"<circuit: {len(self)} of {self.topology.n_edges} edges>"

    @cached_property
    def sorted_edges(self) -> tuple[Edge, ...]:
        """The kept edges in the graph's own order: stable across runs and machines."""
        return tuple(sorted(self.edges, key=self.topology.edge_index))

    def strongest(self, count: int = 10) -> tuple[Edge, ...]:
        """The kept edges with the highest scores, best first; those without a score come last."""
        best = sorted(self.sorted_edges, key=lambda e: -self.scores.get(e, float("-inf")))
        return tuple(best[:count])

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that a kept edge touches, in computation order."""
        touched = {node for edge in self.edges for node in (edge.src, edge.dst)}
        return tuple(node for node in self.topology.nodes if node in touched)

    @cached_property
    def live_edges(self) -> frozenset[Edge]:
        """The kept edges that lie on a path from `input` to `logits`.

        A kept edge outside it carries nothing that depends on the clean prompt.
        """
        forward = _reached(INPUT, {(e.src, e.dst) for e in self.edges})
        backward = _reached(LOGITS, {(e.dst, e.src) for e in self.edges})
        return frozenset(e for e in self.edges if e.src in forward and e.dst in backward)

    def to_networkx(self) -> MultiDiGraph:
        """The circuit as a networkx graph; an edge's key is its slot, see `graph.node_link`."""
        from acdc_pipeline.graph.node_link import to_networkx

        return to_networkx(self)

    def draw(self, title: str = "", subtitle: str = "") -> Drawing:
        """Draw the circuit as an SVG figure, see `plotting.circuit`."""
        from acdc_pipeline.plotting.circuit import draw_circuit
        from acdc_pipeline.plotting.svg import Drawing

        return Drawing(draw_circuit(self, title=title or "circuit", subtitle=subtitle))


def _reached(start: Node, arrows: set[tuple[Node, Node]]) -> set[Node]:
    following: dict[Node, list[Node]] = {}
    for a, b in arrows:
        following.setdefault(a, []).append(b)
    seen, stack = {start}, [start]
    while stack:
        for node in following.get(stack.pop(), ()):
            if node not in seen:
                seen.add(node)
                stack.append(node)
    return seen
