"""The search that follows each change along present edges only.

Three ideas keep it exact and cheap. *Suffix only*: while a receiver is searched, everything
upstream of it is untouched, so a removed edge changes its input by a difference known from two
forward passes. *Surviving subgraph only*: that change travels along present edges alone; every
other node keeps its stored activations. *Positions*: a node that only answers read is computed at
the answer positions alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.forward import SourceOutputs
from acdc_pipeline.engine.layout import Layout, Needed
from acdc_pipeline.engine.memory_plan import MemoryPlan
from acdc_pipeline.engine.objectives import Objective
from acdc_pipeline.engine.search.attention_state import SlotInputs
from acdc_pipeline.engine.search.circuit_state import CircuitState, open_experts
from acdc_pipeline.engine.search.model_search import ChangeSearch
from acdc_pipeline.engine.search.speculation import PlannedState
from acdc_pipeline.engine.search.state_batch import Scratch, StateBatch
from acdc_pipeline.engine.spill import Spill
from acdc_pipeline.engine.without_edges import Without
from acdc_pipeline.graph import LOGITS, Node, Receiver
from acdc_pipeline.models.weights import TransformerWeights

Rows = Float[Tensor, "state rows d_model"]


class SubgraphSearch(ChangeSearch[StateBatch]):
    """The search for models in which a head changes another's output through edges alone."""

    def __init__(
        self,
        weights: TransformerWeights,
        clean: SourceOutputs,
        ablated: Float[Tensor, "src batch pos d_model"],
        layout: Layout,
        objective: Objective,
        memory: int,
        plan: MemoryPlan,
        spill: Spill | None = None,
        without: Without | None = None,
    ) -> None:
        super().__init__(weights, clean, layout, objective, memory)
        self.without = without or {}
        self.circuit = CircuitState(
            weights, clean, ablated, layout, self.kept, self.readers, spill, without
        )
        self.plan = plan
        self.scratch = _scratch(ablated)

    def fork(self) -> Self:
        other = super().fork()
        other.circuit = self.circuit.fork(other.kept, other.readers)
        other.scratch = _scratch(self.circuit.difference)
        return other

    def states_that_fit(self, receiver: Receiver) -> int:
        """Each state may reach every open node."""
        per_state = self.plan.state_bytes(
            everywhere=sum(needed is Needed.EVERY for needed in self.circuit.needed.values()),
            at_answers=len(self.circuit.needed),
            heads=len(self.circuit.attention.parts),
        )
        return max(1, min(self.max_states, (self.memory - self.circuit.held) // per_state))

    def _whole_model(self) -> float:
        return float(self.objective(self.circuit.whole()[None])[0])

    def _final(
        self, receiver: Receiver, plan: Sequence[PlannedState]
    ) -> tuple[Float[Tensor, "state answer d_model"], StateBatch]:
        index = self.topology.source_index
        removed = [[index[node] for node in state.removed] for state in plan]
        first, end = min(map(min, removed)), max(map(max, removed)) + 1
        difference = self.circuit.difference_for(receiver)[first:end]
        mask = difference.new_zeros(len(plan), end - first)
        for k, places in enumerate(removed):
            mask[k, [place - first for place in places]] = 1
        delta = torch.tensordot(mask, difference, dims=1)
        capacity = len(self.circuit.needed)
        batch = StateBatch(receiver, delta, capacity, self.layout, self.scratch)
        final = self._propagate(batch)
        self.speculation.overhead = batch.overhead
        self.multiply_adds += batch.multiply_adds
        return final, batch

    def _propagate(self, batch: StateBatch) -> Float[Tensor, "state answer d_model"]:
        """Follow the change from the batch's receiver to the logits, at the answers."""
        start, logits = batch.start, Receiver(LOGITS)
        batch.count_product(self.layout.n_rows(Needed.ANSWERS), self.weights.w_u.numel())
        changed_input = self.circuit.inputs[start] + batch.delta
        if start == logits:
            return changed_input
        layer = start.node.layer
        assert layer is not None
        if start.node.kind in ("router", "expert", "shared"):
            self._change_experts(layer, {start: changed_input}, batch)
        elif start.slot is None:
            self._change_single(start.node, changed_input, batch)
        else:
            self._change_heads(layer, [start.node], {start.slot: changed_input[None]}, batch)
        for later in range(layer, self.topology.n_layers):
            self._reach_heads(later, batch)
            self._reach_single(later, batch)
            self._reach_experts(later, batch)
        if not self._reach(logits, batch):
            base = self.circuit.inputs[logits]
            return base.expand(batch.n_states, *base.shape)
        return self._inputs([logits], batch)[0]

    def _reach(self, receiver: Receiver, batch: StateBatch) -> bool:
        """Register `receiver` in the batch if any of its sources changed; whether one did."""
        needed = self.circuit.needed_by(receiver)
        sources = batch.changes.at[needed].among(self.kept.get(receiver, []))
        if sources:
            batch.reached[receiver] = (needed, sources)
        return bool(sources)

    def _inputs(
        self, receivers: list[Receiver], batch: StateBatch
    ) -> Float[Tensor, "n state rows d_model"]:
        """The new inputs of reached receivers that are all needed at the same rows."""
        needed = batch.reached[receivers[0]][0]
        inputs = batch.changes.at[needed].summed([batch.reached[r][1] for r in receivers])
        for row, receiver in enumerate(receivers):
            inputs[row] += self.circuit.inputs[receiver]
        return inputs

    def _reach_heads(self, layer: int, batch: StateBatch) -> None:
        groups = self.circuit.open_heads(layer, lambda receiver: self._reach(receiver, batch))
        for _, slots, nodes in groups:
            inputs: SlotInputs = {
                slot: self._inputs([Receiver(node, slot) for node in nodes], batch)
                for slot in slots
            }
            self._change_heads(layer, nodes, inputs, batch)

    def _reach_single(self, layer: int, batch: StateBatch) -> None:
        """Follow the change to the mixer and the MLP of `layer`."""
        for node in self.topology.single_nodes(layer):
            receiver = Receiver(node)
            if node not in self.circuit.needed or receiver == batch.start:
                continue
            if self._reach(receiver, batch):
                self._change_single(node, self._inputs([receiver], batch)[0], batch)

    def _reach_experts(self, layer: int, batch: StateBatch) -> None:
        """Follow the change to the router and the experts of `layer`."""
        nodes = open_experts(self.topology, layer, self.circuit.needed)
        receivers = self.topology.receivers_of(nodes)
        reached = [r for r in receivers if r in self.kept and self._reach(r, batch)]
        if reached:
            changed = {r: self._inputs([r], batch)[0] for r in reached}
            self._change_experts(layer, changed, batch)

    def _change_experts(self, layer: int, changed: dict[Receiver, Rows], batch: StateBatch) -> None:
        """Run the experts whose input changed; all that are open if that of the router did."""
        nodes = open_experts(self.topology, layer, self.circuit.needed)
        routed = any(receiver.node.kind == "router" for receiver in changed)
        some = [
            node
            for node in nodes
            if Receiver(node) in changed or (routed and node.kind == "expert")
        ]
        part = self.weights.blocks[layer].mlp
        assert part is not None
        batch.count_product(max(x.shape[1] for x in changed.values()), part.n_weights)
        for node, written in self.circuit.run_experts(some, changed).items():
            needed = self.circuit.needed[node]
            batch.changes.add(node, needed, written - self.circuit.written[node])

    def _change_single(self, node: Node, x: Rows, batch: StateBatch) -> None:
        assert node.layer is not None
        block, needed = self.weights.blocks[node.layer], self.circuit.needed[node]
        part = block.mixer if node.kind == "mixer" else block.mlp
        assert part is not None
        batch.count_product(x.shape[1], part.n_weights)
        batch.changes.add(
            node, needed, self.circuit.run_single(node, x) - self.circuit.written[node]
        )

    def _change_heads(
        self, layer: int, nodes: list[Node], inputs: SlotInputs, batch: StateBatch
    ) -> None:
        needed, attention = self.circuit.needed[nodes[0]], self.circuit.attention
        parts = attention.run(layer, nodes, needed, inputs)
        change = attention.output(layer, nodes, parts["z"] - attention.current(nodes, "z"))
        # A head's four projections count as of one size.
        size = len(nodes) * self.weights.shapes[layer].attention.w_o[0].numel()
        for x in inputs.values():
            batch.count_product(x.shape[2], size)
        batch.count_product(self.layout.n_rows(needed), size)
        for i, node in enumerate(nodes):
            batch.heads.append((node, {name: part[i] for name, part in parts.items()}))
            batch.changes.add(node, needed, change[i])


def _scratch(like: Float[Tensor, ...]) -> dict[Needed, Scratch]:
    return {needed: Scratch(like) for needed in Needed}
