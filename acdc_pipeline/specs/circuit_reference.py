"""A published circuit, in the terms of its paper: the `circuit.yaml` of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field, model_validator

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph import INPUT, LOGITS, SLOTS, Circuit, Edge, Node, Topology, head, mlp
from acdc_pipeline.graph.edge import Slot
from acdc_pipeline.specs.base import Spec, rejection, unknown_reference
from acdc_pipeline.specs.names import Ablation
from acdc_pipeline.specs.span_schema import SpanName

Index = Annotated[int, Field(ge=0)]
HeadIndex = tuple[Index, Index]
_SLOT_LETTERS = ("q", "k", "v", "qk", "qv", "kv", "qkv")


class Group(Spec):
    """Components with the same function. A head is `[layer, head]`, an MLP its layer.

    Args:
        at: spans at which they read queries and write outputs; empty if the source states none.
        reads: spans whose keys and values the heads read; empty if the source states none.
    """

    heads: tuple[HeadIndex, ...] = ()
    mlps: tuple[Index, ...] = ()
    at: tuple[SpanName, ...] = ()
    reads: tuple[SpanName, ...] = ()

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes of this group: heads, then MLPs."""
        return (*(head(*pair) for pair in self.heads), *(mlp(layer) for layer in self.mlps))


class ReferenceCircuit(Spec):
    """A published circuit: groups of components and the links between them, or single edges.

    Args:
        model: the model it was found in; a `hf:` reference where there is one.
        source: the citation.
        ablation: what removed edges carried, if the source states it.
        groups: the components by function.
        links: `[from group, to group, slots]`: edges from every member of one group to every later
            member of the other. `input` is the input node and every MLP (the encoding of Conmy et
            al. 2023), with the edges among them; `logits` has no slots.
        edges: single edges, in the notation of this package; the source may state their spans.
        note: a caveat for comparisons.
    """

    model: str
    source: str
    ablation: Ablation | None = None
    groups: Mapping[str, Group] = Field(default_factory=dict)
    links: tuple[Annotated[tuple[str, ...], Field(min_length=2, max_length=3)], ...] = Field(
        default=(), description="[from group, to group], or with slots as in [from, to, kv]"
    )
    edges: tuple[str, ...] = ()
    note: str | None = None

    @model_validator(mode="after")
    def _coherent(self) -> ReferenceCircuit:
        if not self.groups and not self.edges:
            raise rejection("edges", "a circuit needs groups or edges")
        for index, link in enumerate(self.links):
            known_from, known_to = ("input", *self.groups), ("logits", *self.groups)
            for name, known in ((link[0], known_from), (link[1], known_to)):
                if name not in known:
                    raise unknown_reference(f"links.{index}", "group", name, known)
            if len(link) == 3 and link[2] not in _SLOT_LETTERS:
                raise unknown_reference(f"links.{index}.2", "set of slots", link[2], _SLOT_LETTERS)
            self._check_spans(index, link)
        for index, name in enumerate(self.edges):
            try:
                Edge.parse(name)
            except GraphError as error:
                raise rejection(
                    f"edges.{index}", error.problem, allowed=error.allowed, fix=error.fix
                ) from error
        return self

    @property
    def heads(self) -> frozenset[Node]:
        """Every head that a group or an edge names."""
        nodes = {node for group in self.groups.values() for node in group.nodes}
        for name in self.edges:
            edge = Edge.parse(name)
            nodes |= {edge.src, edge.dst}
        return frozenset(node for node in nodes if node.kind == "head")

    @property
    def names_edges(self) -> bool:
        """Whether it specifies edges, and not only components."""
        return bool(self.edges or self.links)

    def is_of(self, model: str) -> bool:
        """Whether it was found in `model`, a reference; revisions of a hub model count as one."""
        return _without_revision(self.model) == _without_revision(model)

    @property
    def spans(self) -> frozenset[str]:
        """Every span that a group or an edge names."""
        named = {span for group in self.groups.values() for span in (*group.at, *group.reads)}
        return frozenset(named | {span for e in self.edges if (span := Edge.parse(e).span)})

    def fits_spans(self, topology: Topology) -> bool:
        """Whether `topology` has spans, and this circuit names some of them and no others."""
        return bool(self.spans) and self.spans <= set(topology.spans)

    def places_every_edge(self, topology: Topology) -> bool:
        """Whether the span of every edge in `topology` is stated; true in a graph without spans."""
        return not topology.spans or all(e.span for e in self.published_edges(topology))

    def circuit(self, topology: Topology) -> Circuit:
        """The published circuit in the graph of a model.

        In a graph with spans, an edge stands in every span in which the source may mean it.

        Raises:
            GraphError: it names an edge that `topology` does not have.
        """
        edges = self.published_edges(topology)
        return Circuit.of(topology, [one for edge in edges for one in _placed(edge, topology)])

    def published_edges(self, topology: Topology) -> list[Edge]:
        """The published edges; those whose position `topology` lacks or the source omits, without.

        Raises:
            GraphError: it names an edge that `topology` does not have.
        """
        spans = self.fits_spans(topology)
        edges = [
            edge if spans else replace(edge, span=None) for edge in map(Edge.parse, self.edges)
        ]
        inputs = _inputs(topology)
        if any(link[0] == "input" for link in self.links):
            edges += [Edge(a, b) for b in inputs[1:] for a in inputs[: inputs.index(b)]]
        for link in self.links:
            edges += self._between(link, topology, spans)
        for edge in edges:
            topology.collapsed.check(replace(edge, span=None))
        return list(dict.fromkeys(edges))

    def _between(self, link: tuple[str, ...], topology: Topology, spans: bool) -> list[Edge]:
        src, dst, slots = link[0], link[1], _letters(link)
        sources = _inputs(topology) if src == "input" else list(self.groups[src].nodes)
        receivers = [LOGITS] if dst == "logits" else list(self.groups[dst].nodes)
        every = topology.collapsed.edge_set
        out: list[Edge] = []
        for receiver in receivers:
            topology.check(receiver)
            for source in sources:
                names = slots if receiver.kind == "head" else [None]
                candidates = [Edge(source, receiver, slot) for slot in names]
                out += [
                    replace(edge, span=span)
                    for edge in candidates
                    if edge in every
                    for span in (self._spans_between(src, dst, edge.slot) if spans else (None,))
                ]
        return out

    def _spans_between(self, src: str, dst: str, slot: Slot | None) -> tuple[str | None, ...]:
        """The spans in which a link's edges into `slot` live; None alone if none is stated."""
        written = self.groups[src].at if src in self.groups else ()
        read = ()
        if dst in self.groups:
            read = self.groups[dst].reads if slot in ("k", "v") else self.groups[dst].at
        if written and read:
            return tuple(span for span in written if span in read)
        return written or read or (None,)

    def _check_spans(self, index: int, link: tuple[str, ...]) -> None:
        for slot in _letters(link) if link[1] != "logits" else (None,):
            if not self._spans_between(link[0], link[1], slot):
                raise rejection(
                    f"links.{index}",
                    f"'{link[0]}' writes at none of the spans that '{link[1]}' reads"
                    + (f" with {slot}" if slot else ""),
                    fix="correct `at` and `reads` of both groups",
                )


def _without_revision(model: str) -> str:
    return model.partition("@")[0] if model.startswith("hf:") else model


def _inputs(topology: Topology) -> list[Node]:
    """The nodes that `input` denotes: the input node and every MLP, in computation order."""
    return [INPUT, *(node for node in topology.sources if node.kind == "mlp")]


def _letters(link: tuple[str, ...]) -> Sequence[Slot]:
    return [slot for slot in SLOTS if len(link) < 3 or slot in link[2]]


def _placed(edge: Edge, topology: Topology) -> list[Edge]:
    """An edge of a graph with spans in every span that its receiver has, unless it has a span."""
    if not topology.spans or edge.span is not None:
        return [edge]
    spans = topology.answer_spans if edge.dst == LOGITS else topology.spans
    return [replace(edge, span=span) for span in spans]
