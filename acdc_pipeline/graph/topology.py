"""The full computational graph of a transformer: the sources that each receiver reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from acdc_pipeline.errors import GraphError, nearest, unknown
from acdc_pipeline.graph.edge import SLOTS, Edge, Receiver
from acdc_pipeline.graph.node import INPUT, LOGITS, Node, head, mlp
from acdc_pipeline.text import pluralize

if TYPE_CHECKING:
    import numpy as np

MOST_HEADS = 100_000
"""Limit against invalid files, whose graphs would fill any memory; Llama 3.1 405B has 16,128."""


@dataclass(frozen=True)
class Topology:
    """The graph of a transformer before any edge is removed.

    Args:
        n_heads: query heads per block; with grouped-query attention each has its own `k` and `v`
            receiver (ungrouped, as EAP-IG and MIB count).
        parallel: whether attention and MLP of a block read the same residual stream
            (GPT-NeoX, GPT-J, Phi, Falcon, Cohere); then `m{l}` does not read the heads of layer l.
    """

    n_layers: int
    n_heads: int
    has_mlp: bool
    parallel: bool = False

    def __post_init__(self) -> None:
        if self.n_layers < 1 or self.n_heads < 1:
            raise GraphError(f"a graph of {self.n_layers} layers x {self.n_heads} heads is empty")
        if self.n_layers * self.n_heads > MOST_HEADS:
            raise GraphError(
                f"a graph of {self.n_layers} layers x {self.n_heads} heads is larger than any "
                "model's",
                allowed=f"up to {MOST_HEADS:,} heads",
            )

    def heads(self, layer: int) -> list[Node]:
        """Return the heads of `layer`, first to last."""
        return [head(layer, index) for index in range(self.n_heads)]

    @cached_property
    def sources(self) -> tuple[Node, ...]:
        """Every node with an output, in computation order: input, then per layer heads, MLP."""
        out = [INPUT]
        for layer in range(self.n_layers):
            out += self.heads(layer)
            if self.has_mlp:
                out.append(mlp(layer))
        return tuple(out)

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Every node, in computation order."""
        return (*self.sources, LOGITS)

    @cached_property
    def receivers(self) -> tuple[Receiver, ...]:
        """Every receiver, in computation order: per layer q, k, v of each head, then the MLP."""
        out: list[Receiver] = []
        for layer in range(self.n_layers):
            out += [Receiver(node, slot) for slot in SLOTS for node in self.heads(layer)]
            if self.has_mlp:
                out.append(Receiver(mlp(layer)))
        return (*out, Receiver(LOGITS))

    def n_sources_of(self, receiver: Receiver) -> int:
        """Return how many of `sources`, counted from the first, `receiver` reads."""
        node = receiver.node
        if node.kind == "logits":
            return len(self.sources)
        assert node.layer is not None
        before = 1 + node.layer * (self.n_heads + int(self.has_mlp))
        reads_own_heads = node.kind == "mlp" and not self.parallel
        return before + (self.n_heads if reads_own_heads else 0)

    def sources_of(self, receiver: Receiver) -> tuple[Node, ...]:
        """Return the sources that `receiver` reads, in computation order."""
        self.check(receiver.node)
        return self.sources[: self.n_sources_of(receiver)]

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """Every edge: receivers in computation order, and for each its sources likewise."""
        return tuple(Edge.into(src, r) for r in self.receivers for src in self.sources_of(r))

    @cached_property
    def edge_set(self) -> frozenset[Edge]:
        """`edges`, for membership tests."""
        return frozenset(self.edges)

    @cached_property
    def n_edges(self) -> int:
        """Number of edges: 32,491 for GPT-2 small."""
        return sum(map(self.n_sources_of, self.receivers))

    @cached_property
    def source_index(self) -> dict[Node, int]:
        """Index of each source in `sources`."""
        return {node: index for index, node in enumerate(self.sources)}

    @cached_property
    def first_edge(self) -> dict[Receiver, int]:
        """Index in `edges` of the first edge into each receiver; the others follow it."""
        firsts = accumulate(map(self.n_sources_of, self.receivers), initial=0)
        return dict(zip(self.receivers, firsts, strict=False))

    def edge_index(self, edge: Edge) -> int:
        """Return the index of `edge` in `edges`. Raises GraphError if it does not exist."""
        first = self.first_edge.get(edge.receiver)
        source = self.source_index.get(edge.src)
        if first is None or source is None or source >= self.n_sources_of(edge.receiver):
            raise self._unknown(edge)
        return first + source

    @cached_property
    def edge_sources(self) -> np.ndarray:
        """For each of `edges`, the index of its source in `nodes`."""
        import numpy as np

        counts = map(self.n_sources_of, self.receivers)
        return np.concatenate([np.arange(count, dtype=np.int32) for count in counts])

    @cached_property
    def edge_destinations(self) -> np.ndarray:
        """For each of `edges`, the index of its destination in `nodes`."""
        import numpy as np

        index = {node: i for i, node in enumerate(self.nodes)}
        nodes = np.array([index[receiver.node] for receiver in self.receivers], dtype=np.int32)
        return np.repeat(nodes, [self.n_sources_of(receiver) for receiver in self.receivers])

    def edge_mask(self, edges: Iterable[Edge]) -> np.ndarray:
        """Return which edges are among `edges`, in order. Raises GraphError if one is unknown."""
        import numpy as np

        mask = np.zeros(self.n_edges, dtype=bool)
        mask[[self.edge_index(edge) for edge in edges]] = True
        return mask

    def edges_in(self, mask: np.ndarray) -> list[Edge]:
        """Return the edges whose entry in `mask` is true, in the graph's order."""
        return [self.edges[index] for index in mask.nonzero()[0].tolist()]

    def in_order(self, edges: Iterable[Edge]) -> list[Edge]:
        """Return `edges` in the graph's order. Raises GraphError if one does not exist."""
        return sorted(edges, key=self.edge_index)

    def edge_of(self, edge: Edge | str | tuple[str, str]) -> Edge:
        """Return the edge of that name (`a0.h1->a5.h3<k>`), or `edge` itself.

        A pair of names, such as `("a0.h1", "a5.h3<k>")`, is that of the source and the receiver.

        Raises:
            GraphError: it does not exist in this graph. The error names the nearest one.
        """
        if isinstance(edge, tuple) and len(edge) == 2:
            edge = f"{edge[0]}->{edge[1]}"
        try:
            parsed = Edge.parse(edge) if isinstance(edge, str) else edge
            if not isinstance(parsed, Edge):
                raise GraphError(f"'{edge}' is not an edge")
        except GraphError as error:
            problem = f"'{edge}' is not an edge"
            if error.problem != problem:
                problem += f": {error.problem}"
            allowed = error.allowed or "src->dst, as in a0.h1->a5.h3<k>"
            raise GraphError(problem, allowed=self._suggest(allowed, str(edge))) from None
        try:
            self.check(parsed)
        except GraphError as error:
            raise GraphError(
                error.problem, allowed=self._suggest(error.allowed or "", str(parsed))
            ) from None
        return parsed

    def check(self, item: Node | Edge) -> None:
        """Raise GraphError if `item` does not exist in this graph."""
        if isinstance(item, Edge):
            self.edge_index(item)
        elif item != LOGITS and item not in self.source_index:
            raise self._unknown(item)

    def __str__(self) -> str:
        return (
            f"{pluralize(self.n_layers, 'layer')} x {pluralize(self.n_heads, 'head')}"
            f"{', MLPs' if self.has_mlp else ', no MLPs'}"
            f"{', parallel blocks' if self.parallel else ''}"
        )

    def _suggest(self, allowed: str, name: str) -> str:
        """`allowed`, followed by the edge whose ends are nearest to those in `name`."""
        src, _, dst = name.partition("->")
        receivers = {str(receiver): receiver for receiver in self.receivers}
        close = dst if dst in receivers else nearest(dst, receivers)
        if close is None:
            return allowed
        sources = [str(source) for source in self.sources_of(receivers[close])]
        source = src if src in sources else nearest(src, sources)
        return allowed if source is None else f"{allowed} (did you mean '{source}->{close}'?)"

    def _unknown(self, item: Node | Edge) -> GraphError:
        kind = "an edge" if isinstance(item, Edge) else "a node"
        return GraphError(f"'{item}' is not {kind} of this graph", allowed=str(self))


def check_keys(values: Mapping[Any, Any], path: str, known: Iterable[str]) -> None:
    """Raise GraphError, with `path` in the document, if `values` has a key that is not `known`."""
    known = tuple(known)
    for key in values:
        if key not in known:
            place = f"{path}.{key}" if path else str(key)
            raise GraphError(
                unknown("key", key, known), field=place, allowed=", ".join(known) or "no keys"
            )


def check_types(values: Mapping[str, Any], path: str, **kinds: type) -> None:
    """Raise GraphError unless each of `values`, found at `path` of a document, has its type."""
    for name, kind in kinds.items():
        # bool is a subclass of int, but True is not a number of layers.
        if type(value := values.get(name)) is not kind:
            field = f"{path}.{name}"
            raise GraphError(f"{value!r} is not valid", field=field, allowed=kind.__name__)
