"""A circuit: a set of edges kept, with the full graph they are part of."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from acdc_pipeline.errors import GraphError, UnknownName, check_whole, shorten_value
from acdc_pipeline.graph.edge import Edge
from acdc_pipeline.graph.node import Node
from acdc_pipeline.graph.topology import Topology

if TYPE_CHECKING:
    from networkx import MultiDiGraph

    from acdc_pipeline.graph.comparison import CircuitComparison
    from acdc_pipeline.plotting.svg import Drawing

Rank = Literal["magnitude", "signed"]
"""How edges are ranked: by |score|, or by the signed score (higher means more needed)."""

Selector = Literal["greedy", "ilp"]
"""How edges are chosen: one by one (`graph.cut`), or together (`graph.integer_program`)."""

FORMAT = "acdc-pipeline/circuit"
FORMAT_VERSION = 1

# networkx replaces the key None by a number, so an edge without a slot has the empty key.
NO_SLOT = ""


@dataclass(frozen=True, repr=False)
class Circuit:
    """A set of edges kept, with the full graph it was cut from.

    `a | b`, `a & b` and `a - b` are the circuits of the edges in either, in both, and in `a` alone.
    An edge of the result has the score that it has in `a`, the left circuit, if any.

    Args:
        edges: the edges kept; each must exist in `topology`.
        scores: the method's score of each edge, in its own sign and unit; may include removed
            edges and may be empty.

    Raises:
        GraphError: an edge or a scored edge does not exist in `topology`.
    """

    topology: Topology
    edges: frozenset[Edge]
    scores: Mapping[Edge, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for edge in self.edges:
            self.topology.check(edge)
        # Most methods score every edge in order, which one comparison checks.
        if tuple(self.scores) != self.topology.edges:
            for edge in self.scores:
                self.topology.check(edge)

    @classmethod
    def of(
        cls,
        topology: Topology,
        edges: Edge | str | Iterable[Edge | str | tuple[str, str]],
        scores: Mapping[Edge, float] | None = None,
    ) -> Circuit:
        """Return a circuit from edges, their names (`a0.h1->a5.h3<k>`) or pairs of names."""
        if not isinstance(topology, Topology):
            raise GraphError(
                f"'{shorten_value(topology)}' is not the graph of a model",
                where="Circuit.of",
                field="topology",
                fix="load_model('zoo:gpt2-4l-s0').topology, or that of another circuit",
            )
        given = [edges] if isinstance(edges, Edge | str) else edges
        parsed = frozenset(topology.edge_of(edge) for edge in given)
        return cls(topology, parsed, dict(scores or {}))

    @classmethod
    def full(cls, topology: Topology) -> Circuit:
        """Return the circuit of all edges."""
        return cls(topology, topology.edge_set)

    def __len__(self) -> int:
        return len(self.edges)

    def __iter__(self) -> Iterator[Edge]:
        return iter(self.sorted_edges)

    def __contains__(self, edge: Edge | str) -> bool:
        """Whether the circuit keeps `edge`, given as an edge or by its name.

        Raises:
            GraphError: no edge of the graph has that name.
        """
        return (self.topology.edge_of(edge) if isinstance(edge, str) else edge) in self.edges

    def __or__(self, other: object) -> Circuit:
        if not isinstance(other, Circuit):
            _refuse_edges(other, fix="circuit | Circuit.of(circuit.topology, edges)")
            return NotImplemented
        self.check_same_graph(other)
        return self._keeping(self.edges.union(other.edges))

    def __and__(self, other: object) -> Circuit:
        if not isinstance(other, Circuit):
            _refuse_edges(other, fix="circuit & Circuit.of(circuit.topology, edges)")
            return NotImplemented
        self.check_same_graph(other)
        return self._keeping(self.edges.intersection(other.edges))

    def __sub__(self, other: object) -> Circuit:
        if not isinstance(other, Circuit):
            _refuse_edges(other, fix="circuit.without(edges)")
            return NotImplemented
        self.check_same_graph(other)
        return self._keeping(self.edges.difference(other.edges))

    def without(self, edges: Edge | str | Iterable[Edge | str | tuple[str, str]]) -> Circuit:
        """Return the circuit without one edge or several, given as edges or by their names.

        Edges that the circuit does not keep change nothing. The edges that are left have their
        scores.

        Raises:
            GraphError: an edge does not exist in the graph.
        """
        given = [edges] if isinstance(edges, Edge | str) else edges
        return self._keeping(self.edges - {self.topology.edge_of(edge) for edge in given})

    def check_same_graph(self, other: object) -> None:
        """Raise GraphError unless `other` is a circuit of the same graph."""
        if not isinstance(other, Circuit):
            raise GraphError(
                f"'{shorten_value(other)}' is not a circuit",
                fix="Circuit.of(circuit.topology, edges) makes a circuit of edges or their names, "
                "and `.circuit` of what load_circuit read",
            )
        if self.topology != other.topology:
            if self.topology.collapsed == other.topology.collapsed:
                raise _different_spans(self.topology, other.topology)
            raise GraphError(
                f"circuits of different graphs: {self.topology}; and {other.topology}",
                allowed="circuits of one graph, such as those of one model",
            )

    def compare(self, other: Circuit) -> CircuitComparison:
        """Compare the edges and nodes of this circuit (A) with those of `other` (B).

        Raises:
            GraphError: `other` is a circuit of another graph.
        """
        from acdc_pipeline.graph.comparison import CircuitComparison

        return CircuitComparison(self, other)

    def __repr__(self) -> str:
        return f"<circuit: {len(self)} of {self.topology.n_edges} edges>"

    @cached_property
    def sorted_edges(self) -> tuple[Edge, ...]:
        """The kept edges in the graph's order, the same in every process."""
        return tuple(self.topology.in_order(self.edges))

    @property
    def is_scored(self) -> bool:
        """Whether every edge of the graph has a score, so that circuits of any size can be cut."""
        return self.scores.keys() == self.topology.edge_set

    @property
    def ranking(self) -> Rank:
        """How the edges are ranked: `signed`, or as the method of its run ranks them."""
        return "signed"

    def strongest(self, count: int = 10, rank: Rank | None = None) -> tuple[Edge, ...]:
        """Return the kept edges with the highest scores, best first; edges without a score last.

        Args:
            rank: by the score with its sign (`signed`) or by |score| (`magnitude`); None for
                `ranking`.
        """
        check_whole(count, "count", 0, where="strongest")
        worth = abs if (rank or self.ranking) == "magnitude" else float

        def order(edge: Edge) -> float:
            return -worth(self.scores[edge]) if edge in self.scores else float("inf")

        return tuple(sorted(self.sorted_edges, key=order)[:count])

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes of the kept edges, in computation order."""
        touched = {node for edge in self.edges for node in (edge.src, edge.dst)}
        return tuple(node for node in self.topology.nodes if node in touched)

    @cached_property
    def n_pairs(self) -> int:
        """The number of (source, destination) nodes with a kept edge, of any slot and span.

        Papers count edges in either way; EAP-IG and MIB count the three slots apart.
        """
        return len({(edge.src, edge.dst) for edge in self.edges})

    @cached_property
    def n_pairs_total(self) -> int:
        """The number of such pairs in the full graph."""
        graph = self.topology.collapsed
        return sum({r.node: graph.n_sources_of(r) for r in graph.receivers}.values())

    @cached_property
    def live_edges(self) -> frozenset[Edge]:
        """The kept edges on a path from `input` to `logits`.

        The other kept edges cannot carry information from the clean prompt to the output.
        """
        from acdc_pipeline.graph.flow import flow_of

        index = {self.topology.edge_index(edge): edge for edge in self.edges}
        return frozenset(index[number] for number in flow_of(self.topology).live(index))

    def collapse(self) -> Circuit:
        """Return the circuit over components: its edges without their spans.

        The score of an edge is the sum of its scores in all spans. A circuit of a graph without
        spans is returned as it is.
        """
        if not self.topology.spans:
            return self
        scores: dict[Edge, float] = {}
        for edge, score in self.scores.items():
            whole = replace(edge, span=None)
            scores[whole] = scores.get(whole, 0.0) + score
        edges = frozenset(replace(edge, span=None) for edge in self.edges)
        topology = self.topology.collapsed
        ordered = {edge: scores[edge] for edge in topology.in_order(scores)}
        return Circuit(topology, edges, ordered)

    def within(self, topology: Topology) -> Circuit:
        """Return the circuit in a graph of other prompts, which may lack some of its spans.

        Edges in spans that the other graph lacks are left out: no prompt of it has their positions.
        """
        if topology == self.topology:
            return self
        return Circuit(topology, self.edges & topology.edge_set)

    def to_networkx(self) -> MultiDiGraph:
        """Return the circuit as a networkx graph; an edge's key is its slot (`q`, `k`, `v`, or "").

        In a graph with spans the key is the pair of slot and span.

        Nodes have `kind`, `layer`, `head`; edges have `score` if the method gave one; the graph has
        `n_layers`, `n_heads`, `has_mlp`, `parallel`, `layers` if layers differ in their parts,
        `experts` and `shared` if experts are nodes, `spans`, `answer_spans` and `sees` if there are
        spans and, if removed edges have scores, `removed_scores` (edge name -> score).
        """
        from networkx import MultiDiGraph

        graph = MultiDiGraph(format=FORMAT, version=FORMAT_VERSION, **self.topology.as_dict())
        if removed := self.scores.keys() - self.edges:
            in_order = (edge for edge in self.topology.edges if edge in removed)
            graph.graph["removed_scores"] = {str(edge): self.scores[edge] for edge in in_order}
        for node in self.nodes:
            graph.add_node(str(node), kind=node.kind, layer=node.layer, head=node.head)
        for edge in self.sorted_edges:
            score = {"score": self.scores[edge]} if edge in self.scores else {}
            key = edge.slot or NO_SLOT
            key = key if edge.span is None else (key, edge.span)
            graph.add_edge(str(edge.src), str(edge.dst), key=key, **score)
        return graph

    def to_frame(self, *, edges: str = "kept", library: str | None = None) -> Any:
        """Return the edges as a data frame, one row per edge in the graph's order.

        Columns: `src`, `dst`, their kinds, layers and heads (`src_kind`, `src_layer`, `src_head`,
        `dst_kind`, …), `dst_slot` (`q`, `k` or `v` of a head), `span` in a graph with spans,
        `score`, and `present`, which is true for the edges kept. A null means that there is no such
        value.

        Args:
            edges: `kept`, or `all` edges of the graph.
            library: `pandas` or `polars`; None for the first of them that is installed.

        Raises:
            UnknownName: there is no such library or choice of edges.
            InvalidInput: the library, or both of them, are not installed.
        """
        from acdc_pipeline.graph.table import edge_frame

        choices = {"kept": self.sorted_edges, "all": self.topology.edges}
        if edges not in choices:
            raise UnknownName.among(
                "choice of edges", edges, choices, where="to_frame", field="edges"
            )
        return edge_frame(self, choices[edges], library)

    @property
    def title(self) -> str | None:
        """What a figure calls the circuit; None for a circuit of no run."""
        return None

    def _repr_svg_(self) -> str:
        return self.draw().svg

    def draw(self, title: str = "", subtitle: str = "") -> Drawing:
        """Draw the circuit as an SVG figure, see `plotting.circuit`; `.save(path)` writes it.

        Raises:
            InvalidInput: `title` is the name of an SVG file.
        """
        from acdc_pipeline.plotting.circuit import draw_circuit
        from acdc_pipeline.plotting.svg import Drawing, check_title

        check_title(title)
        heading = title or self.title or "circuit"
        return Drawing(draw_circuit(self, title=heading, subtitle=subtitle))

    def _keeping(self, edges: frozenset[Edge]) -> Circuit:
        scores = {
            edge: self.scores[edge] for edge in self.topology.in_order(edges) if edge in self.scores
        }
        return Circuit(self.topology, edges, scores)


def jaccard(a: Collection[Hashable], b: Collection[Hashable]) -> float:
    """Return the Jaccard similarity of two sets, from 0 to 1; two empty sets are equal."""
    union = len({*a, *b})
    return len(set(a) & set(b)) / union if union else 1.0


def _different_spans(one: Topology, other: Topology) -> GraphError:
    """The refusal of two circuits of one model whose edges live in different spans."""
    if one.spans == other.spans:
        differ = f"spans {', '.join(one.spans)} with other answers or visible spans"
    else:
        names = (", ".join(topology.spans) or "none" for topology in (one, other))
        differ = "different spans: {}; and {}".format(*names)
    return GraphError(
        f"circuits of one model in {differ}",
        fix="circuit.collapse() is a circuit without positions: collapse each that has spans",
    )


def _refuse_edges(operand: object, fix: str) -> None:
    """Raise GraphError for edges or their names in place of a circuit."""
    if isinstance(operand, Edge | str | Iterable):
        raise GraphError(f"'{shorten_value(operand)}' is not a circuit", fix=fix)
