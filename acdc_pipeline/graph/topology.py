"""The full computational graph of a transformer: the sources that each receiver reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph.edge import SLOTS, Edge, Receiver
from acdc_pipeline.graph.layers import (
    check_experts,
    check_layers,
    describe_experts,
    describe_layers,
)
from acdc_pipeline.graph.node import (
    INPUT,
    LOGITS,
    Node,
    expert,
    head,
    mixer,
    mlp,
    router,
    router_of,
    shared,
)
from acdc_pipeline.graph.spans import check_spans, visible_spans
from acdc_pipeline.text import pluralize

if TYPE_CHECKING:
    import numpy as np

_OF_MLP = frozenset(("mlp", "router", "expert", "shared"))

LISTS = {"layers": str, "experts": int, "shared": int} | dict.fromkeys(
    ("spans", "answer_spans", "sees"), str
)
"""The arguments of a `Topology` that are lists, left out where they are empty, and their types."""

MOST_HEADS = 100_000
"""Limit against invalid files, whose graphs would fill any memory; Llama 3.1 405B has 16,128."""


@dataclass(frozen=True)
class Topology:
    """The graph of a transformer before any edge is removed.

    Args:
        n_heads: query heads of a layer that has heads; with grouped-query attention each has its
            own `k` and `v` receiver (ungrouped, as EAP-IG and MIB count). 0 if no layer has heads.
        has_mlp: whether layers have MLPs; with `layers`, whether any of them has one.
        parallel: whether all parts of a layer read the same residual stream (GPT-NeoX, GPT-J, Phi,
            Falcon, Cohere); then `m{l}` does not read the heads and the mixer of layer l.
        layers: the parts of each layer in computation order, as letters: `a` for attention heads,
            `r` for a mixer (recurrence, state space model, convolution), `m` for an MLP; such as
            `("rm", "rm", "am")`. Heads and mixer of one layer read the same stream. Empty if every
            layer has heads, and every or no layer an MLP; layers given so are stored as empty.
        experts: for each layer the number of experts that are nodes of their own, 0 where the MLP
            is one node. Empty if it is one node everywhere.
        shared: the layers with experts whose MLP adds something else to them, a further node.
        spans: named token positions, first to last; each edge then lives in one of them. Empty for
            edges that carry their source's output at every position.
        answer_spans: the spans in which answers are predicted, which have a `logits` receiver.
        sees: for each span, the spans that its queries see, separated by spaces.

    Raises:
        GraphError: there are no layers, or one of the lists contradicts another argument.
    """

    n_layers: int
    n_heads: int
    has_mlp: bool
    parallel: bool = False
    layers: tuple[str, ...] = ()
    experts: tuple[int, ...] = ()
    shared: tuple[int, ...] = ()
    spans: tuple[str, ...] = ()
    answer_spans: tuple[str, ...] = ()
    sees: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.n_layers < 1 or (self.n_heads < 1 and not self.layers):
            raise GraphError(f"a graph of {self.n_layers} layers x {self.n_heads} heads is empty")
        if self.n_layers * self.n_heads > MOST_HEADS:
            raise GraphError(
                f"a graph of {self.n_layers} layers x {self.n_heads} heads is larger than any "
                "model's",
                allowed=f"up to {MOST_HEADS:,} heads",
            )
        if self.layers:
            layers = check_layers(self.layers, self.n_layers, self.n_heads, self.has_mlp)
            uniform = set(layers) == {"am" if self.has_mlp else "a"}
            object.__setattr__(self, "layers", () if uniform else layers)
        if self.experts or self.shared:
            parts = [self.parts(layer) for layer in range(self.n_layers)]
            experts, shared = check_experts(self.experts, self.shared, parts)
            object.__setattr__(self, "experts", experts)
            object.__setattr__(self, "shared", shared)
        if self.spans or self.answer_spans or self.sees:
            check_spans(self.spans, self.answer_spans, self.sees)

    @classmethod
    def of_layers(
        cls,
        layers: Iterable[str],
        n_heads: int,
        *,
        parallel: bool = False,
        experts: Iterable[int] = (),
        shared: Iterable[int] = (),
    ) -> Topology:
        """Return the graph of `layers`, each given by the letters of its parts."""
        layers = tuple(layers)
        has_mlp = any("m" in parts for parts in layers)
        return cls(len(layers), n_heads, has_mlp, parallel, layers, tuple(experts), tuple(shared))

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Topology:
        """Return the graph with these arguments, as `as_dict` gives them."""
        lists = {name: tuple(plain.get(name, ())) for name in LISTS}
        return cls(**{**plain, **lists})

    def as_dict(self) -> dict[str, Any]:
        """Return the arguments as JSON has them; lists of layers only if they are not empty."""
        plain: dict[str, Any] = {
            "n_layers": self.n_layers,
            "n_heads": self.n_heads,
            "has_mlp": self.has_mlp,
            "parallel": self.parallel,
        }
        lists = {name: getattr(self, name) for name in LISTS}
        return plain | {name: list(values) for name, values in lists.items() if values}

    def parts(self, layer: int) -> str:
        """Return the letters of the parts of `layer`, see `layers`."""
        return self.layers[layer] if self.layers else "am" if self.has_mlp else "a"

    @cached_property
    def _first_sources(self) -> tuple[int, ...]:
        widths = (
            self.n_heads * ("a" in parts) + ("r" in parts) + self._mlp_width(layer)
            for layer, parts in enumerate(map(self.parts, range(self.n_layers)))
        )
        return tuple(accumulate(widths, initial=1))

    def first_source(self, layer: int) -> int:
        """Return the index in `sources` of the first node of `layer`.

        For `n_layers` it is the number of all sources.
        """
        return self._first_sources[layer]

    def head_sources(self, layer: int) -> range:
        """Return the indices in `sources` of the heads of `layer`; empty if it has none."""
        first = self._first_sources[layer]
        return range(first, first + self.n_heads * ("a" in self.parts(layer)))

    def mixer_source(self, layer: int) -> int | None:
        """Return the index in `sources` of the mixer of `layer`; None if it has none."""
        return self.head_sources(layer).stop if "r" in self.parts(layer) else None

    def mlp_sources(self, layer: int) -> range:
        """Return the indices in `sources` of the MLP of `layer`, or of its experts and the rest.

        Empty if it has no MLP.
        """
        end = self._first_sources[layer + 1]
        return range(end - self._mlp_width(layer), end)

    def _mlp_width(self, layer: int) -> int:
        """The number of sources of the MLP of `layer`."""
        experts = self.n_experts(layer)
        return experts + (layer in self.shared) if experts else int("m" in self.parts(layer))

    def n_experts(self, layer: int) -> int:
        """Return how many experts of `layer` are nodes of their own."""
        return self.experts[layer] if self.experts else 0

    def heads(self, layer: int) -> list[Node]:
        """Return the heads of `layer`, first to last; none if it has no attention."""
        if self.layers and "a" not in self.layers[layer]:
            return []
        return [head(layer, index) for index in range(self.n_heads)]

    def mixers(self, layer: int) -> list[Node]:
        """Return the mixer of `layer`; none if it has none."""
        return [mixer(layer)] if "r" in self.parts(layer) else []

    def mlp_nodes(self, layer: int) -> list[Node]:
        """Return the MLP of `layer`, or its experts and then the rest; none if it has no MLP."""
        if count := self.n_experts(layer):
            rest = [shared(layer)] if layer in self.shared else []
            return [expert(layer, index) for index in range(count)] + rest
        return [mlp(layer)] if "m" in self.parts(layer) else []

    def single_nodes(self, layer: int) -> list[Node]:
        """Return the mixer and the MLP of `layer`, in computation order, as far as it has them.

        A mixture whose experts are nodes is not a single one.
        """
        return self.mixers(layer) + ([] if self.n_experts(layer) else self.mlp_nodes(layer))

    def receivers_of(self, nodes: Iterable[Node]) -> list[Receiver]:
        """Return the receivers of some mixers or nodes of one MLP, that of a router first."""
        nodes = list(nodes)
        routers = dict.fromkeys(map(router_of, nodes))
        return [Receiver(node) for node in (*routers, *nodes) if node is not None]

    @cached_property
    def n_heads_total(self) -> int:
        """The number of heads of all layers."""
        return sum(len(self.head_sources(layer)) for layer in range(self.n_layers))

    @cached_property
    def layers_with_heads(self) -> tuple[int, ...]:
        """The layers that have heads."""
        return tuple(layer for layer in range(self.n_layers) if "a" in self.parts(layer))

    @cached_property
    def sources(self) -> tuple[Node, ...]:
        """Every node with an output, in computation order.

        First `input`, then of each layer the heads, the mixer and the MLP: its experts, if these
        are nodes, and what else it has.
        """
        out = [INPUT]
        for layer in range(self.n_layers):
            out += self.heads(layer) + self.mixers(layer) + self.mlp_nodes(layer)
        return tuple(out)

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Every node: the sources in computation order, then the routers, then the logits."""
        return (*self.sources, *self.routers, LOGITS)

    @cached_property
    def routers(self) -> dict[Node, tuple[Node, ...]]:
        """The routers, and the experts whose weights each of them computes."""
        layers = [layer for layer in range(self.n_layers) if self.n_experts(layer)]
        return {
            router(layer): tuple(self.mlp_nodes(layer)[: self.n_experts(layer)]) for layer in layers
        }

    @cached_property
    def receivers(self) -> tuple[Receiver, ...]:
        """Every receiver, in computation order.

        Of each layer: `q`, `k`, `v` of each head, then the mixer, then the MLP or the router and
        the experts; each in every span, if there are spans.
        """
        out: list[Receiver] = []
        for layer in range(self.n_layers):
            out += [Receiver(node, slot) for slot in SLOTS for node in self.heads(layer)]
            out += map(Receiver, self.mixers(layer))
            out += self.receivers_of(self.mlp_nodes(layer))
        return tuple(self.in_spans([*out, Receiver(LOGITS)]))

    def in_spans(self, receivers: Iterable[Receiver]) -> list[Receiver]:
        """Return each of some receivers without a span in every span that it has, first to last."""
        if not self.spans:
            return list(receivers)
        spans = {True: self.answer_spans, False: self.spans}
        return [replace(r, span=span) for r in receivers for span in spans[r.node == LOGITS]]

    @cached_property
    def visible(self) -> dict[str, frozenset[str]]:
        """The spans that each span sees; empty without spans."""
        return visible_spans(self.spans, self.sees)

    @cached_property
    def collapsed(self) -> Topology:
        """The graph without spans."""
        return replace(self, spans=(), answer_spans=(), sees=())

    def n_sources_of(self, receiver: Receiver) -> int:
        """Return how many of `sources`, counted from the first, `receiver` reads."""
        node = receiver.node
        if node.kind == "logits":
            return self._first_sources[-1]
        assert node.layer is not None
        if node.kind in _OF_MLP and not self.parallel:
            return self._first_sources[node.layer + 1] - self._mlp_width(node.layer)
        return self._first_sources[node.layer]

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
        from acdc_pipeline.graph.edge_names import find_edge

        return find_edge(self, edge)

    def check(self, item: Node | Edge) -> None:
        """Raise GraphError if `item` does not exist in this graph."""
        if isinstance(item, Edge):
            self.edge_index(item)
        elif item != LOGITS and item not in self.source_index and item not in self.routers:
            raise self._unknown(item)

    def require_same_parts(self, form: str) -> None:
        """Raise GraphError if layers differ in their parts, which a `form` of files cannot say."""
        if self.spans:
            fix = "use the node-link JSON (graph.json), or circuit.collapse()"
            raise GraphError(f"{form} cannot describe a graph with spans", fix=fix)
        if self.layers or self.experts:
            has = "mixers or layers of different parts" if self.layers else "experts as nodes"
            raise GraphError(
                f"{form} cannot describe a graph with {has}: {self}",
                fix="use the node-link JSON (graph.json) or a list of edges",
            )

    def __repr__(self) -> str:
        values = {n: tuple(v) if isinstance(v, list) else v for n, v in self.as_dict().items()}
        return f"Topology({', '.join(f'{name}={value!r}' for name, value in values.items())})"

    def __str__(self) -> str:
        text = f"{pluralize(self.n_layers, 'layer')} x {pluralize(self.n_heads, 'head')}"
        text += ", MLPs" if self.has_mlp else ", no MLPs"
        if self.layers:
            text = describe_layers(self.layers, self.n_heads)
        if self.parallel:
            text += ", parallel" if self.layers else ", parallel blocks"
        if self.spans:
            text += f", spans {', '.join(self.spans)}"
        return text + describe_experts(self.experts, self.shared)

    def _unknown(self, item: Node | Edge) -> GraphError:
        kind = "an edge" if isinstance(item, Edge) else "a node"
        return GraphError(f"'{item}' is not {kind} of this graph", allowed=str(self))
