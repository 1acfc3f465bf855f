"""The full computational graph of a transformer: the sources that each receiver reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, Any

from acdc_pipeline.errors import GraphError, nearest, unknown
from acdc_pipeline.graph.edge import SLOTS, Edge, Receiver
from acdc_pipeline.graph.node import INPUT, LOGITS, Node, head, mixer, mlp
from acdc_pipeline.text import pluralize

if TYPE_CHECKING:
    import numpy as np

PARTS = ("a", "r", "m", "ar", "am", "rm", "arm")
"""What a layer may consist of: attention heads, a mixer, an MLP."""

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

    Raises:
        GraphError: there are no layers, or `layers` contradict another argument.
    """

    n_layers: int
    n_heads: int
    has_mlp: bool
    parallel: bool = False
    layers: tuple[str, ...] = ()

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

    @classmethod
    def of_layers(cls, layers: Iterable[str], n_heads: int, *, parallel: bool = False) -> Topology:
        """Return the graph of `layers`, each given by the letters of its parts."""
        layers = tuple(layers)
        has_mlp = any("m" in parts for parts in layers)
        return cls(len(layers), n_heads, has_mlp, parallel, layers)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Topology:
        """Return the graph with these arguments, as `as_dict` gives them."""
        return cls(**{**plain, "layers": tuple(plain.get("layers", ()))})

    def as_dict(self) -> dict[str, Any]:
        """Return the arguments as JSON has them; `layers` only if it is not empty."""
        plain: dict[str, Any] = {
            "n_layers": self.n_layers,
            "n_heads": self.n_heads,
            "has_mlp": self.has_mlp,
            "parallel": self.parallel,
        }
        return plain | ({"layers": list(self.layers)} if self.layers else {})

    def parts(self, layer: int) -> str:
        """Return the letters of the parts of `layer`, see `layers`."""
        return self.layers[layer] if self.layers else "am" if self.has_mlp else "a"

    @cached_property
    def _first_sources(self) -> tuple[int, ...]:
        widths = (
            self.n_heads * ("a" in parts) + ("r" in parts) + ("m" in parts)
            for parts in map(self.parts, range(self.n_layers))
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

    def mlp_source(self, layer: int) -> int | None:
        """Return the index in `sources` of the MLP of `layer`; None if it has none."""
        return self._first_sources[layer + 1] - 1 if "m" in self.parts(layer) else None

    def heads(self, layer: int) -> list[Node]:
        """Return the heads of `layer`, first to last; none if it has no attention."""
        if self.layers and "a" not in self.layers[layer]:
            return []
        return [head(layer, index) for index in range(self.n_heads)]

    def single_nodes(self, layer: int) -> list[Node]:
        """Return the mixer and the MLP of `layer`, in computation order, as far as it has them."""
        parts = self.parts(layer)
        nodes = (("r", mixer), ("m", mlp))
        return [node(layer) for letter, node in nodes if letter in parts]

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

        First `input`, then of each layer the heads, the mixer and the MLP.
        """
        out = [INPUT]
        for layer in range(self.n_layers):
            out += self.heads(layer)
            out += self.single_nodes(layer)
        return tuple(out)

    @cached_property
    def nodes(self) -> tuple[Node, ...]:
        """Every node, in computation order."""
        return (*self.sources, LOGITS)

    @cached_property
    def receivers(self) -> tuple[Receiver, ...]:
        """Every receiver, in computation order.

        Of each layer: `q`, `k`, `v` of each head, then the mixer, then the MLP.
        """
        out: list[Receiver] = []
        for layer in range(self.n_layers):
            out += [Receiver(node, slot) for slot in SLOTS for node in self.heads(layer)]
            out += map(Receiver, self.single_nodes(layer))
        return (*out, Receiver(LOGITS))

    def n_sources_of(self, receiver: Receiver) -> int:
        """Return how many of `sources`, counted from the first, `receiver` reads."""
        node = receiver.node
        if node.kind == "logits":
            return self._first_sources[-1]
        assert node.layer is not None
        if node.kind == "mlp" and not self.parallel:
            return self._first_sources[node.layer + 1] - 1
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

    def require_same_parts(self, form: str) -> None:
        """Raise GraphError if layers differ in their parts, which a `form` of files cannot say."""
        if self.layers:
            raise GraphError(
                f"{form} cannot describe a graph with mixers or layers of different parts: {self}",
                fix="use the node-link JSON (graph.json) or a list of edges",
            )

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value!r}" for name, value in self._shown.items())
        return f"Topology({values})"

    @property
    def _shown(self) -> dict[str, Any]:
        shown = self.as_dict()
        return shown | ({"layers": self.layers} if self.layers else {})

    def __str__(self) -> str:
        if self.layers:
            runs = [(parts, len(list(run))) for parts, run in groupby(self.layers)]
            listed = ", ".join(parts if n == 1 else f"{n} x {parts}" for parts, n in runs)
            named = {"a": pluralize(self.n_heads, "head"), "r": "mixer", "m": "MLP"}
            meant = ", ".join(
                f"{letter}: {name}"
                for letter, name in named.items()
                if any(letter in parts for parts in self.layers)
            )
            return (
                f"{pluralize(self.n_layers, 'layer')} of the parts {listed} ({meant})"
                f"{', parallel' if self.parallel else ''}"
            )
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


def check_layers(
    layers: Iterable[str], n_layers: int, n_heads: int, has_mlp: bool
) -> tuple[str, ...]:
    """Return the parts of each layer as a tuple.

    Raises:
        GraphError: a layer has other parts than `a`, `r` and `m`, each at most once and in this
            order; or they contradict the other arguments of a `Topology`.
    """
    found = (layers,) if isinstance(layers, str) else tuple(layers)
    for index, parts in enumerate(found):
        if parts not in PARTS:
            raise GraphError(
                f"{parts!r} is not the parts of a layer",
                field=f"layers.{index}",
                allowed=", ".join(PARTS),
            )
    if len(found) != n_layers:
        raise GraphError(f"parts of {len(found)} layers", field="layers", allowed=f"{n_layers}")
    for name, letter, there in (("n_heads", "a", n_heads > 0), ("has_mlp", "m", has_mlp)):
        if there != any(letter in parts for parts in found):
            value = n_heads if letter == "a" else has_mlp
            raise GraphError(
                f"{value} contradicts layers, of which {'none' if there else 'some'} "
                f"{'has' if there else 'have'} the part {letter}",
                field=name,
            )
    return found


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
