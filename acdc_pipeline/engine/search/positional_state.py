"""What the open nodes of the current circuit read and write, span by span."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.forward import (
    SourceOutputs,
    run_mixer_rows,
    run_mlp,
    run_mlp_nodes,
    streams_from_outputs,
    subtract_outputs,
)
from acdc_pipeline.engine.layout import Layout
from acdc_pipeline.engine.search.circuit_state import open_experts
from acdc_pipeline.engine.search.positional_attention import (
    Parts,
    PositionalAttention,
    SpanInputs,
)
from acdc_pipeline.engine.search.state_batch import Changes, CountedWork, Scratch
from acdc_pipeline.engine.span_rows import SpanRows
from acdc_pipeline.engine.spill import Spill, empty, tensor_dict
from acdc_pipeline.engine.without_edges import Without
from acdc_pipeline.graph import LOGITS, SLOTS, Node, Receiver, Slot
from acdc_pipeline.models.weights import TransformerWeights

Rows = Float[Tensor, "_ _ d_model"]
"""In each state, or in one for all; at the rows of a span."""

Reached = tuple[tuple[Slot, str], ...]
"""Slots and spans of a head whose input changed."""


class PositionalBatch(CountedWork):
    """States that differ in what one receiver reads, and all changes that follow.

    Args:
        start: the receiver whose edges the states lack.
        delta: the change of its input.
        at: by span, the changes of what nodes write there.

    Attributes:
        reached: the sources that changed for each reached receiver.
        heads: the new attention parts of each reached head.
    """

    def __init__(self, start: Receiver, delta: Rows, at: dict[str, Changes]) -> None:
        super().__init__(len(delta), delta.device)
        self.start, self.delta, self.at = start, delta, at
        self.reached: dict[Receiver, list[Node]] = {}
        self.heads: list[tuple[Node, Parts]] = []

    def input_change(self, receiver: Receiver, state: int) -> Float[Tensor, "rows d_model"]:
        """By how much a reached receiver's input changes in one state."""
        if receiver == self.start:
            return self.delta[state]
        return self.at[span_of(receiver)].of_state(self.reached[receiver], state)


class PositionalState:
    """The activations of the current circuit in a graph with spans.

    A node is open once one of its receivers was visited; all other nodes are clean.

    Args:
        spans: the rows of each span.
        kept: the sources that each visited receiver reads, as the search keeps it up to date.
        readers: for each source, the finished receivers that still read it, likewise.
        spill: where activations are kept; None for the device's memory.
        without: the sources that receivers do not read from the beginning; `clean` is then the
            model without these edges.

    Attributes:
        difference: by span, ablated minus clean output of every source.
        read: the spans in which each open node is read, a router those of its experts.
        inputs: what visited receivers read, in their span.
        streams_in: what open mixers read at every position.
        written: what open mixers, MLPs and experts write in the spans in which they are read.
        attention: the parts of open heads.
        held: bytes of the above.
    """

    def __init__(
        self,
        weights: TransformerWeights,
        clean: SourceOutputs,
        ablated: Float[Tensor, "src batch pos d_model"],
        layout: Layout,
        spans: Mapping[str, SpanRows],
        kept: Mapping[Receiver, list[Node]],
        readers: Mapping[Node, list[Receiver]],
        spill: Spill | None = None,
        without: Without | None = None,
    ) -> None:
        self.without = without or {}
        self.weights, self.topology, self.layout = weights, weights.topology, layout
        self.clean, self.spans = clean, spans
        self.kept, self.readers = kept, readers
        difference = subtract_outputs(ablated, clean, spill).flatten(1, 2)
        self.difference = {
            name: rows.select(
                difference,
                empty((len(difference), len(rows.rows), weights.d_model), difference, spill),
            )
            for name, rows in spans.items()
        }
        self.attention = PositionalAttention(weights, layout, spans, spill)
        self.read: dict[Node, tuple[str, ...]] = {}
        self.inputs: dict[Receiver, Float[Tensor, "rows d_model"]] = tensor_dict(spill)
        self.streams_in: dict[Node, Float[Tensor, "rows d_model"]] = tensor_dict(spill)
        self.written: dict[tuple[Node, str], Float[Tensor, "rows d_model"]] = tensor_dict(spill)
        self.held = 0
        self._streams = streams_from_outputs(weights, clean)

    def fork(
        self, kept: Mapping[Receiver, list[Node]], readers: Mapping[Node, list[Receiver]]
    ) -> PositionalState:
        """Return an independent state with the same activations, for another search."""
        other = copy(self)
        other.kept, other.readers = kept, readers
        other.read, other.inputs = dict(self.read), self.inputs.copy()
        other.streams_in, other.written = self.streams_in.copy(), self.written.copy()
        other.attention = self.attention.fork()
        return other

    def open(self, receiver: Receiver) -> None:
        """Start `receiver` with its clean input, and its node if it is not open yet."""
        if receiver.node != LOGITS and receiver.node not in self.read:
            self._open_node(receiver.node)
        self.inputs[receiver] = self.clean_input(receiver)
        self.held += self.inputs[receiver].nbytes

    def group_heads(
        self, receivers: Mapping[Node, Sequence[Receiver]]
    ) -> Iterator[tuple[tuple[str, ...], Reached, list[Node]]]:
        """Group open heads by the spans they are read in, and by slot and span of some receivers.

        Args:
            receivers: of each head, in the order of the graph; heads without any are left out.
        """
        groups: dict[tuple[tuple[str, ...], Reached], list[Node]] = {}
        for node, some in receivers.items():
            if some:
                slots: Reached = tuple((r.slot, span_of(r)) for r in some if r.slot is not None)
                groups.setdefault((self.read[node], slots), []).append(node)
        return ((read, slots, nodes) for (read, slots), nodes in groups.items())

    def apply(self, batch: PositionalBatch, state: int) -> None:
        """Make one state of a batch the current one."""
        for receiver in (batch.start, *batch.reached):
            change = batch.input_change(receiver, state)
            self.inputs[receiver] = self.inputs[receiver] + change
            if receiver.node in self.streams_in:
                self._set_stream(receiver)
        for node, span in self.written:
            if node in batch.at[span].column:
                change = batch.at[span].of_state([node], state)
                self.written[node, span] = self.written[node, span] + change
        for node, parts in batch.heads:
            # Keys and values that were never changed have one state for all.
            self.attention.update(node, {key: part[state].clone() for key, part in parts.items()})

    def run_single(self, node: Node, changed: Mapping[str, Rows]) -> dict[str, Rows]:
        """What a mixer or an MLP writes in the spans that are read, for new inputs in some spans.

        Spans in which it cannot change are left out.
        """
        assert node.layer is not None
        block = self.weights.blocks[node.layer]
        if node.kind == "mlp":
            return {s: run_mlp(block, x) for s, x in changed.items() if s in self.read[node]}
        n_states = max(len(x) for x in changed.values())
        stream = self.streams_in[node].repeat(n_states, 1, 1)
        for span, x in changed.items():
            self.spans[span].scatter(stream, x)
        written = run_mixer_rows(block, stream, self.layout)
        return {
            span: self.spans[span].select(written)
            for span in self.read[node]
            if not self.topology.visible[span].isdisjoint(changed)
        }

    def run_experts(
        self, layer: int, changed: Mapping[Receiver, Rows]
    ) -> Iterator[tuple[Node, str, Rows]]:
        """What open nodes of a mixture write for new inputs, in each span that is read.

        Those whose input is the same are left out; the experts of a router are not.
        """
        first = self.topology.mlp_sources(layer).start
        for span in self.spans:
            new = {receiver.node for receiver in changed if receiver.span == span}
            routed = any(node.kind == "router" for node in new)
            some = [
                node
                for node in open_experts(self.topology, layer, self.read)
                if span in self.read[node] and (node in new or (routed and node.kind == "expert"))
            ]
            if not some:
                continue
            receivers = [replace(r, span=span) for r in self.topology.receivers_of(some)]
            inputs = [self._read(receiver, changed) for receiver in receivers]
            places = [self.topology.source_index[node] - first for node in some]
            block = self.weights.blocks[layer]
            written = run_mlp_nodes(block, torch.stack(torch.broadcast_tensors(*inputs)), places)
            yield from ((node, span, rows) for node, rows in zip(some, written, strict=True))

    def _read(self, receiver: Receiver, changed: Mapping[Receiver, Rows]) -> Rows:
        """What a router or an expert reads, if not a new input that of the circuit."""
        if receiver in changed:
            return changed[receiver]
        now = self.inputs.get(receiver)
        return (self.clean_input(receiver) if now is None else now)[None]

    def recompute(self, at: Mapping[str, Scratch]) -> None:
        """Recompute the activations of every open node from the clean run and the kept edges.

        So rounding errors do not accumulate, and all that follows depends on the decisions so far
        alone.
        """
        changes = self.changes(1, at)
        for layer in range(self.topology.n_layers):
            self._recompute_heads(changes, layer)
            for node in self.topology.single_nodes(layer):
                if node not in self.read:
                    continue
                visited = [r for r in self.topology.in_spans([Receiver(node)]) if r in self.kept]
                for receiver in visited:
                    self._recompute_input(changes, receiver)
                    if node in self.streams_in:
                        self._set_stream(receiver)
                inputs = {span_of(r): self.inputs[r][None] for r in visited}
                for span, output in self.run_single(node, inputs).items():
                    self.written[node, span] = output[0]
                    changes[span].add(node, output - self._clean_output(node, span))
            self._recompute_experts(changes, layer)
        for receiver in self.topology.in_spans([Receiver(LOGITS)]):
            if receiver in self.kept:
                self._recompute_input(changes, receiver)

    def changes(self, n_states: int, scratch: Mapping[str, Scratch]) -> dict[str, Changes]:
        """Room for the changes of every open node, by span."""
        d_model = self.weights.d_model
        return {
            name: Changes(
                scratch[name].take(
                    sum(name in read for read in self.read.values()), n_states, rows.n_rows, d_model
                )
            )
            for name, rows in self.spans.items()
        }

    def clean_input(self, receiver: Receiver) -> Float[Tensor, "rows d_model"]:
        """What a receiver reads as long as its own edges and those before are whole."""
        stream = self._stream(replace(receiver, span=None))
        return self.spans[span_of(receiver)].select(stream)

    def whole(self) -> Float[Tensor, "answer d_model"]:
        """What the logits read at the answers before anything is removed."""
        return self.layout.at_answers(self._stream(Receiver(LOGITS)))

    def _recompute_heads(self, changes: Mapping[str, Changes], layer: int) -> None:
        visited = {
            node: [
                receiver
                for slot in SLOTS
                for receiver in self.topology.in_spans([Receiver(node, slot)])
                if receiver in self.kept
            ]
            for node in self.topology.heads(layer)
        }
        for read, slots, nodes in self.group_heads(visited):
            inputs: SpanInputs = {}
            for slot, span in slots:
                receivers = [Receiver(node, slot, span) for node in nodes]
                for receiver in receivers:
                    self._recompute_input(changes, receiver)
                inputs[slot, span] = torch.stack([self.inputs[r] for r in receivers])[:, None]
            parts = self.attention.run(layer, nodes, read, inputs)
            for i, node in enumerate(nodes):
                own = {key: part[i, 0].clone() for key, part in parts.items()}
                self.attention.update(node, own)
            for span in read:
                z = self.attention.current(nodes, ("z", span))
                written = self.attention.output(layer, nodes, z)
                for i, node in enumerate(nodes):
                    changes[span].add(node, written[i] - self._clean_output(node, span))

    def _recompute_experts(self, changes: Mapping[str, Changes], layer: int) -> None:
        receivers = self.topology.receivers_of(open_experts(self.topology, layer, self.read))
        visited = [r for r in self.topology.in_spans(receivers) if r in self.kept]
        for receiver in visited:
            self._recompute_input(changes, receiver)
        inputs = {receiver: self.inputs[receiver][None] for receiver in visited}
        for node, span, output in self.run_experts(layer, inputs):
            self.written[node, span] = output[0]
            changes[span].add(node, output - self._clean_output(node, span))

    def _recompute_input(self, changes: Mapping[str, Changes], receiver: Receiver) -> None:
        """Clean input, plus the difference of removed edges, plus the changes of kept sources."""
        total, span = self.clean_input(receiver), span_of(receiver)
        kept = {*self.kept[receiver], *self.without.get(receiver, ())}
        sources = self.topology.sources_of(receiver)
        removed = [float(source not in kept) for source in sources]
        if any(removed):
            difference = self.difference[span][: len(sources)]
            total = total + torch.tensordot(difference.new_tensor(removed), difference, dims=1)
        changed = changes[span].among(self.kept[receiver])
        if changed:
            total = total + changes[span].of_state(changed, 0)
        self.inputs[receiver] = total

    def _open_node(self, node: Node) -> None:
        found = {reader.span for reader in self.readers[node]}
        self.read[node] = tuple(span for span in self.spans if span in found)
        if node.kind == "router":
            return
        if node.kind == "head":
            streams: dict[Slot, Tensor] = {
                slot: self._stream(Receiver(node, slot)) for slot in SLOTS
            }
            self.held += self.attention.open(node, self.read[node], streams)
            return
        for span in self.read[node]:
            self.written[node, span] = self._clean_output(node, span)
            self.held += self.written[node, span].nbytes
        if node.kind == "mixer":
            self.streams_in[node] = self._stream(Receiver(node))
            self.held += self.streams_in[node].nbytes

    def _stream(self, receiver: Receiver) -> Float[Tensor, "rows d_model"]:
        """What the receivers of all spans read, given without a span, before edges are removed."""
        stream = self._streams.read_by(receiver).flatten(0, 1)
        for span, rows in self.spans.items():
            for source in self.without.get(replace(receiver, span=span), ()):
                stream = stream.clone()
                difference = self.difference[span][self.topology.source_index[source]]
                rows.scatter(stream, rows.select(stream) + difference)
        return stream

    def _set_stream(self, receiver: Receiver) -> None:
        """Take over the input of a mixer's receiver into what the mixer reads everywhere."""
        stream = self.streams_in[receiver.node].clone()
        self.spans[span_of(receiver)].scatter(stream, self.inputs[receiver])
        self.streams_in[receiver.node] = stream

    def _clean_output(self, node: Node, span: str) -> Float[Tensor, "rows d_model"]:
        written = self.clean.outputs[self.topology.source_index[node]].flatten(0, 1)
        return self.spans[span].select(written)


def span_of(receiver: Receiver) -> str:
    """The span of a receiver of a graph with spans."""
    assert receiver.span is not None
    return receiver.span
