"""The full computational graph of a transformer: which sources every receiver sees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph.edge import SLOTS, Edge, Receiver
from acdc_pipeline.graph.node import INPUT, LOGITS, Node, head, mlp

MOST_HEADS = 100_000
"""Llama 3.1 405B has 16,128. The edges of a graph that a file makes up would fill any memory."""


@dataclass(frozen=True)
class Topology:
    """A transformer's graph before anything is removed.

    Args:
        n_layers: blocks.
        n_heads: query heads a block; under grouped-query attention each keeps its own
            `k` and `v` receiver (ungrouped, as EAP-IG and MIB count).
        has_mlp: whether blocks have an MLP.
        parallel: whether attention and MLP of a block read the same residual stream
            (GPT-NeoX, GPT-J, Phi, Falcon, Cohere); then `m{l}` does not see the heads of layer l.
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
        """The heads of `layer`, first to last."""
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
        """How many of `sources`, counted from the first, `receiver` sees."""
        node = receiver.node
        if node.kind == "logits":
            return len(self.sources)
        assert node.layer is not None
        before = 1 + node.layer * (self.n_heads + int(self.has_mlp))
        sees_own_heads = node.kind == "mlp" and not self.parallel
        return before + (self.n_heads if sees_own_heads else 0)

    def sources_of(self, receiver: Receiver) -> tuple[Node, ...]:
        """The sources `receiver` sees, in computation order."""
        self.check(receiver.node)
        return self.sources[: self.n_sources_of(receiver)]

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """Every edge, receivers in computation order and sources likewise inside each."""
        return tuple(Edge.into(src, r) for r in self.receivers for src in self.sources_of(r))

    @cached_property
    def edge_set(self) -> frozenset[Edge]:
        """`edges`, for membership tests."""
        return frozenset(self.edges)

    @property
    def n_edges(self) -> int:
        """Number of edges of the full graph: 32,491 for GPT-2 small."""
        return sum(self.n_sources_of(r) for r in self.receivers)

    def check(self, item: Node | Edge) -> None:
        """Raises GraphError if `item` does not exist in this graph."""
        found = item in self.edge_set if isinstance(item, Edge) else item in self.nodes
        if not found:
            kind = "an edge" if isinstance(item, Edge) else "a node"
            raise GraphError(
                f"'{item}' is not {kind} of this graph",
                allowed=f"{self.n_layers} layers x {self.n_heads} heads"
                f"{', MLPs' if self.has_mlp else ', no MLPs'}"
                f"{', parallel blocks' if self.parallel else ''}",
            )
