"""A published circuit, in the terms of its paper: the `circuit.yaml` of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field, model_validator

from acdc_pipeline.errors import GraphError
from acdc_pipeline.graph import INPUT, LOGITS, SLOTS, Circuit, Edge, Node, Topology, head, mlp
from acdc_pipeline.graph.edge import Slot
from acdc_pipeline.specs.base import Spec, rejection, unknown_reference
from acdc_pipeline.specs.names import Ablation

Index = Annotated[int, Field(ge=0)]
HeadIndex = tuple[Index, Index]
_SLOT_LETTERS = ("q", "k", "v", "qk", "qv", "kv", "qkv")


class Group(Spec):
    """Components with the same function. A head is `[layer, head]`, an MLP its layer."""

    heads: tuple[HeadIndex, ...] = ()
    mlps: tuple[Index, ...] = ()

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
        edges: single edges, in the notation of this package.
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

    def circuit(self, topology: Topology) -> Circuit:
        """The published circuit in the graph of a model.

        Raises:
            GraphError: it names an edge that `topology` does not have.
        """
        edges = [Edge.parse(name) for name in self.edges]
        inputs = _inputs(topology)
        if any(link[0] == "input" for link in self.links):
            edges += [Edge(a, b) for b in inputs[1:] for a in inputs[: inputs.index(b)]]
        for link in self.links:
            letters = link[2] if len(link) == 3 else "qkv"
            slots: list[Slot] = [slot for slot in SLOTS if slot in letters]
            edges += self._between(link[0], link[1], slots, topology)
        return Circuit.of(topology, edges)

    def _between(self, src: str, dst: str, slots: Sequence[Slot], topology: Topology) -> list[Edge]:
        sources = _inputs(topology) if src == "input" else list(self.groups[src].nodes)
        receivers = [LOGITS] if dst == "logits" else list(self.groups[dst].nodes)
        out: list[Edge] = []
        for receiver in receivers:
            topology.check(receiver)
            for source in sources:
                names = slots if receiver.kind == "head" else [None]
                candidates = [Edge(source, receiver, slot) for slot in names]
                out += [edge for edge in candidates if edge in topology.edge_set]
        return out


def _without_revision(model: str) -> str:
    return model.partition("@")[0] if model.startswith("hf:") else model


def _inputs(topology: Topology) -> list[Node]:
    """The nodes that `input` denotes: the input node and every MLP, in computation order."""
    return [INPUT, *(node for node in topology.sources if node.kind == "mlp")]
