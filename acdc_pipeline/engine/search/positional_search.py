"""The search in a graph with spans, which follows each change along present edges only.

As in `subgraph_search`, with one more idea: an edge lives in one span, so a removed one changes the
rows of that span alone, and what follows is computed in the spans that are still read. Queries of a
span see changed keys and values of the spans before them.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.forward import SourceOutputs, head_width
from acdc_pipeline.engine.layout import Layout
from acdc_pipeline.engine.objectives import Objective
from acdc_pipeline.engine.search.circuit_state import open_experts
from acdc_pipeline.engine.search.model_search import ChangeSearch
from acdc_pipeline.engine.search.positional_attention import SpanInputs
from acdc_pipeline.engine.search.positional_state import (
    PositionalBatch,
    PositionalState,
    Rows,
    span_of,
)
from acdc_pipeline.engine.search.speculation import PlannedState
from acdc_pipeline.engine.search.state_batch import Scratch
from acdc_pipeline.engine.span_rows import answers_in_span, rows_of_spans
from acdc_pipeline.engine.spill import Spill
from acdc_pipeline.engine.without_edges import Without
from acdc_pipeline.graph import LOGITS, Node, Receiver
from acdc_pipeline.models.weights import TransformerWeights


class PositionalSearch(ChangeSearch[PositionalBatch]):
    """The search for models in which a head changes another's output through edges alone.

    Attributes:
        finished: the finished receivers of each node that still read a source, in graph order.
    """

    # A state changes the rows of few spans, and recomputing all costs as much as many states.
    recompute_after = 1024

    def __init__(
        self,
        weights: TransformerWeights,
        clean: SourceOutputs,
        ablated: Float[Tensor, "src batch pos d_model"],
        layout: Layout,
        objective: Objective,
        memory: int,
        spill: Spill | None = None,
        without: Without | None = None,
    ) -> None:
        super().__init__(weights, clean, layout, objective, memory)
        self.without = without or {}
        self.spans = rows_of_spans(layout, self.topology.spans)
        self.circuit = PositionalState(
            weights, clean, ablated, layout, self.spans, self.kept, self.readers, spill, without
        )
        self.answers = {
            name: answers_in_span(layout, self.spans[name]) for name in self.topology.answer_spans
        }
        self.scratch = {name: Scratch(ablated) for name in self.spans}
        self.order = {receiver: i for i, receiver in enumerate(self.topology.receivers)}
        self.finished: dict[Node, list[Receiver]] = {}

    def fork(self) -> Self:
        other = super().fork()
        other.circuit = self.circuit.fork(other.kept, other.readers)
        other.scratch = {name: Scratch(self.clean.outputs) for name in self.spans}
        other.finished = {node: list(found) for node, found in self.finished.items()}
        return other

    def leave(self) -> None:
        receiver = self.receiver
        super().leave()
        if receiver is not None and self.kept[receiver]:
            found = self.finished.setdefault(receiver.node, [])
            insort(found, receiver, key=self.order.__getitem__)

    def states_that_fit(self, receiver: Receiver) -> int:
        """Each state may reach every open node in every span in which it is read."""
        weights, layout = self.weights, self.layout
        d_model, d_head = weights.d_model, head_width(weights)
        numbers = 4 * layout.batch * layout.pos * d_model
        for node, read in self.circuit.read.items():
            if node.kind == "head":
                numbers += 2 * layout.batch * layout.pos * d_head
            for name in read:
                per_row = 3 * d_model + (3 * d_head + 3 * layout.pos) * (node.kind == "head")
                numbers += self.spans[name].n_rows * per_row
        numbers += len(layout.answer_row) * weights.w_u.shape[1]
        per_state = numbers * self.clean.outputs.element_size()
        return max(1, min(self.max_states, (self.memory - self.circuit.held) // per_state))

    def _whole_model(self) -> float:
        return float(self.objective(self.circuit.whole()[None])[0])

    def _final(
        self, receiver: Receiver, plan: Sequence[PlannedState]
    ) -> tuple[Float[Tensor, "state answer d_model"], PositionalBatch]:
        index = self.topology.source_index
        removed = [[index[node] for node in state.removed] for state in plan]
        first, end = min(map(min, removed)), max(map(max, removed)) + 1
        difference = self.circuit.difference[span_of(receiver)][first:end]
        mask = difference.new_zeros(len(plan), end - first)
        for k, places in enumerate(removed):
            mask[k, [place - first for place in places]] = 1
        delta = torch.tensordot(mask, difference, dims=1)
        changes = self.circuit.changes(len(plan), self.scratch)
        batch = PositionalBatch(receiver, delta, changes)
        final = self._propagate(batch)
        self.speculation.overhead = batch.overhead
        self.multiply_adds += batch.multiply_adds
        return final, batch

    def _propagate(self, batch: PositionalBatch) -> Float[Tensor, "state answer d_model"]:
        """Follow the change from the batch's receiver to the logits, at the answers."""
        start = batch.start
        batch.count_product(len(self.layout.answer_row), self.weights.w_u.numel())
        changed = self.circuit.inputs[start] + batch.delta
        if start.node == LOGITS:
            return self._at_answers(batch, {span_of(start): changed})
        layer = start.node.layer
        assert layer is not None
        if start.node.kind in ("router", "expert", "shared"):
            self._change_experts(layer, {start: changed}, batch)
        elif start.slot is None:
            self._change_single(start.node, {span_of(start): changed}, batch)
        else:
            inputs: SpanInputs = {(start.slot, span_of(start)): changed[None]}
            self._change_heads(layer, [start.node], inputs, batch)
        for later in range(layer, self.topology.n_layers):
            self._reach_heads(later, batch)
            self._reach_single(later, batch)
            self._reach_experts(later, batch)
        reached: dict[str, Rows] = {}
        for receiver in self._reached(LOGITS, batch):
            reached[span_of(receiver)] = self._inputs([receiver], batch)[0]
        return self._at_answers(batch, reached)

    def _at_answers(
        self, batch: PositionalBatch, changed: dict[str, Rows]
    ) -> Float[Tensor, "state answer d_model"]:
        """The final streams at the answers, with new ones in some spans."""
        n_answers = len(self.layout.answer_row)
        final = batch.delta.new_empty(batch.n_states, n_answers, self.weights.d_model)
        for name, at in self.answers.items():
            receiver = Receiver(LOGITS, None, name)
            rows = changed.get(name)
            if rows is None:
                now = self.circuit.inputs.get(receiver)
                rows = (self.circuit.clean_input(receiver) if now is None else now)[None]
            final[:, at.answers] = rows[:, at.places]
        return final

    def _reached(self, node: Node, batch: PositionalBatch) -> list[Receiver]:
        """Register those receivers of `node` in the batch of which a source changed."""
        found = []
        for receiver in self.finished.get(node, ()):
            sources = batch.at[span_of(receiver)].among(self.kept[receiver])
            if sources:
                batch.reached[receiver] = sources
                found.append(receiver)
        return found

    def _inputs(
        self, receivers: list[Receiver], batch: PositionalBatch
    ) -> Float[Tensor, "n state rows d_model"]:
        """The new inputs of reached receivers of one span."""
        changes = batch.at[span_of(receivers[0])]
        inputs = changes.summed([batch.reached[receiver] for receiver in receivers])
        for row, receiver in enumerate(receivers):
            inputs[row] += self.circuit.inputs[receiver]
        return inputs

    def _reach_heads(self, layer: int, batch: PositionalBatch) -> None:
        found = {node: self._reached(node, batch) for node in self.topology.heads(layer)}
        for _, slots, nodes in self.circuit.group_heads(found):
            inputs: SpanInputs = {
                (slot, span): self._inputs([Receiver(node, slot, span) for node in nodes], batch)
                for slot, span in slots
            }
            self._change_heads(layer, nodes, inputs, batch)

    def _reach_single(self, layer: int, batch: PositionalBatch) -> None:
        """Follow the change to the mixer and the MLP of `layer`."""
        for node in self.topology.single_nodes(layer):
            if node == batch.start.node:
                continue
            if reached := self._reached(node, batch):
                inputs = {span_of(r): self._inputs([r], batch)[0] for r in reached}
                self._change_single(node, inputs, batch)

    def _reach_experts(self, layer: int, batch: PositionalBatch) -> None:
        """Follow the change to the router and the experts of `layer`."""
        nodes = open_experts(self.topology, layer, self.circuit.read)
        reading = [receiver.node for receiver in self.topology.receivers_of(nodes)]
        reached = [receiver for node in reading for receiver in self._reached(node, batch)]
        if reached:
            changed = {r: self._inputs([r], batch)[0] for r in reached}
            self._change_experts(layer, changed, batch)

    def _change_experts(
        self, layer: int, changed: dict[Receiver, Rows], batch: PositionalBatch
    ) -> None:
        part = self.weights.blocks[layer].mlp
        assert part is not None
        for span in {span_of(receiver): None for receiver in changed}:
            batch.count_product(self.spans[span].n_rows, part.n_weights)
        for node, span, written in self.circuit.run_experts(layer, changed):
            batch.at[span].add(node, written - self.circuit.written[node, span])

    def _change_single(self, node: Node, changed: dict[str, Rows], batch: PositionalBatch) -> None:
        assert node.layer is not None
        block = self.weights.blocks[node.layer]
        part = block.mixer if node.kind == "mixer" else block.mlp
        assert part is not None
        rows = sum(x.shape[1] for x in changed.values())
        if node.kind == "mixer":
            rows = self.layout.batch * self.layout.pos
        batch.count_product(rows, part.n_weights)
        for span, written in self.circuit.run_single(node, changed).items():
            batch.at[span].add(node, written - self.circuit.written[node, span])

    def _change_heads(
        self, layer: int, nodes: list[Node], inputs: SpanInputs, batch: PositionalBatch
    ) -> None:
        attention, read = self.circuit.attention, self.circuit.read[nodes[0]]
        parts = attention.run(layer, nodes, read, inputs)
        # A head's four projections count as of one size.
        size = len(nodes) * self.weights.shapes[layer].attention.w_o[0].numel()
        for x in inputs.values():
            batch.count_product(x.shape[2], size)
        for (name, span), z in parts.items():
            if name != "z" or span is None:
                continue
            now = attention.current(nodes, (name, span))
            change = attention.output(layer, nodes, z - now)
            batch.count_product(self.spans[span].n_rows, size)
            for i, node in enumerate(nodes):
                batch.at[span].add(node, change[i])
        for i, node in enumerate(nodes):
            batch.heads.append((node, {key: part[i] for key, part in parts.items()}))
