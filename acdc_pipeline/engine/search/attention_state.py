"""The current queries, keys, values and patterns of the heads that are still needed."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.engine.attention import attention_pattern, visible_keys
from acdc_pipeline.engine.components import normalise, project
from acdc_pipeline.engine.layout import Layout, Needed
from acdc_pipeline.engine.search.state_batch import Parts
from acdc_pipeline.engine.slots import finish_slot, normalise_mixed, project_slot, split_gate
from acdc_pipeline.engine.spill import Spill, tensor_dict
from acdc_pipeline.graph import Node, Slot
from acdc_pipeline.models.weights import TransformerWeights

SlotInputs = dict[Slot, Float[Tensor, "n state _ d_model"]]
"""What n heads of a layer read in some of their slots, the same for all of them."""


class AttentionState:
    """Per needed head: `q`, `k`, `v`, `gate`, `pattern` and `z` of the current circuit.

    Queries, gates, patterns and `z` of a head needed only at the answers exist only there. Shapes:
    `k` and `v` are [batch pos d_head]; `q`, `gate` and `z` are [batch pos d_head] or
    [answer 1 d_head]; `pattern` is [batch pos pos] or [answer 1 pos]. Heads without a gate have
    no such part.
    """

    def __init__(
        self, weights: TransformerWeights, layout: Layout, spill: Spill | None = None
    ) -> None:
        self.weights = weights
        self.layout = layout
        self.parts: dict[Node, Parts] = {}
        self._spill = spill
        device = layout.answer_row.device
        self.positions = torch.arange(layout.pos, device=device)
        self.allowed = {
            layer: visible_keys(block.attn, layout.pos, device)
            for layer, block in enumerate(weights.shapes)
            if block.attn is not None
        }

    def fork(self) -> AttentionState:
        """Return an independent state with the same parts."""
        other = copy(self)
        other.parts = {node: parts.copy() for node, parts in self.parts.items()}
        return other

    def open(
        self, node: Node, needed: Needed, read: Mapping[Slot, Float[Tensor, "rows d_model"]]
    ) -> int:
        """Start `node` from what its slots read at all rows; return the bytes it takes."""
        inputs: SlotInputs = {slot: stream[None, None] for slot, stream in read.items()}
        inputs["q"] = self.layout.select(inputs["q"], needed)
        assert node.layer is not None
        projected = self._project(node.layer, [node], needed, inputs)
        parts = self._attend(node.layer, [node], needed, projected, {})
        self.update(node, {name: part[0, 0] for name, part in parts.items()})
        return sum(part.nbytes for part in self.parts[node].values())

    def update(self, node: Node, parts: Parts) -> None:
        """Replace those parts of `node`."""
        self.parts.setdefault(node, tensor_dict(self._spill)).update(parts)

    def run(self, layer: int, nodes: list[Node], needed: Needed, inputs: SlotInputs) -> Parts:
        """Compute heads with new `inputs`; returns the parts that change, [n state …] each."""
        names = ("q", "k", "v", "pattern")
        if self.weights.shapes[layer].attention.gate is not None:
            names = (*names, "gate")
        current = {name: self.current(nodes, name) for name in names}
        projected = self._project(layer, nodes, needed, inputs)
        return self._attend(layer, nodes, needed, projected, current)

    def current(self, nodes: list[Node], name: str) -> Float[Tensor, "n 1 ..."]:
        """One part of these heads in the current circuit."""
        return torch.stack([self.parts[node][name] for node in nodes])[:, None]

    def output(
        self, layer: int, nodes: list[Node], z: Float[Tensor, "n state batch pos d_head"]
    ) -> Float[Tensor, "n state rows d_model"]:
        """What heads write, from `z`; of a change of `z`, the change of that."""
        rows = z.flatten(2, 3)
        w_o = self.weights.blocks[layer].attention.w_o[_heads(nodes)]
        return project(rows.flatten(1, 2), w_o, None).unflatten(1, rows.shape[1:3])

    def _project(self, layer: int, nodes: list[Node], needed: Needed, inputs: SlotInputs) -> Parts:
        block = self.weights.blocks[layer]
        heads = _heads(nodes)
        out: Parts = {}
        for slot, x in inputs.items():
            normalised = normalise(x, block.norm_attn).flatten(1, 2)
            rows = project_slot(block.attention, slot, heads, normalised).unflatten(1, x.shape[1:3])
            narrow = slot == "q" and needed is Needed.ANSWERS
            shape = (-1, 1) if narrow else (self.layout.batch, self.layout.pos)
            shaped = rows.unflatten(2, shape)
            if slot == "q":
                shaped, gate = split_gate(block.attention, shaped)
                if gate is not None:
                    out["gate"] = gate
            at = self._positions(needed) if narrow else self.positions
            out[slot] = finish_slot(shaped, block.attention, slot, heads, at)
        return out

    def _attend(
        self, layer: int, nodes: list[Node], needed: Needed, projected: Parts, current: Parts
    ) -> Parts:
        parts = dict(projected)
        have = {**current, **projected}
        attn = self.weights.blocks[layer].attention
        if "q" in projected or "k" in projected:
            allowed = self.allowed[layer]
            if needed is Needed.ANSWERS:
                allowed = allowed[self.layout.answer_pos][:, None]
            keys = self._for_queries(have["k"], needed)
            at = self._positions(needed)
            parts["pattern"] = attention_pattern(have["q"], keys, attn, _heads(nodes), at, allowed)
            have["pattern"] = parts["pattern"]
        z = torch.matmul(have["pattern"], self._for_queries(have["v"], needed))
        parts["z"] = normalise_mixed(attn, z * have["gate"] if "gate" in have else z)
        return parts

    def _positions(self, needed: Needed) -> Int[Tensor, "*at query"]:
        """The positions of queries that are needed at these rows."""
        return self.layout.answer_pos[:, None] if needed is Needed.ANSWERS else self.positions

    def _for_queries(
        self, keys: Float[Tensor, "n state batch pos d_head"], needed: Needed
    ) -> Float[Tensor, "n state queries pos d_head"]:
        return keys if needed is Needed.EVERY else self.layout.keys_of_answers(keys)


def _heads(nodes: list[Node]) -> list[int]:
    return [node.head for node in nodes if node.head is not None]
