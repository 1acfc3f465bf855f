"""What changing the queries or keys of a head does, through the softmax exactly.

The change of what a head mixes from its values is computed with the attention pattern that the
changed queries or keys give; what follows is linearised:

    Σ (mixed(changed) - mixed) · ∂M/∂mixed

With values as they are, that is the change of the pattern times the gradient by the pattern
(Kramár et al. 2024, arXiv 2403.00745, section 3.1.1), where queries have no gate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.attention import attention_pattern, normalise_outputs, visible_keys
from acdc_pipeline.engine.components import Stream, normalise, project
from acdc_pipeline.engine.gradients.receiver_gradients import backpropagate
from acdc_pipeline.engine.slots import (
    finish_slot,
    normalise_mixed,
    project_slots,
    project_stream,
    split_gate,
)
from acdc_pipeline.graph import Slot
from acdc_pipeline.models.weights import Block

# Positions of changed streams that are processed together.
_ROWS = 1024


class MixedValues:
    """What the heads of a layer mix from their values, at one point and near it.

    Args:
        block: the layer.
        stream: what its heads read.
        memory: bytes for changed streams and what heads make of them.
    """

    def __init__(self, block: Block, stream: Stream, memory: int) -> None:
        self.block, self.stream = block, stream
        self.heads = range(len(block.attention.w_q))
        self.slots = project_slots(block.attention, normalise(stream, block.norm_attn))
        self.mixed = self._mix(self.slots)
        rows, pos = stream.shape[0] * stream.shape[1], stream.shape[1]
        each = 3 * stream.shape[2] + len(self.heads) * (6 * block.attention.widest + 3 * pos)
        fit = memory // (rows * each * stream.element_size())
        self.sources_at_once = max(1, min(fit, math.ceil(_ROWS / rows)))

    def gradient(self, at_output: Stream) -> Float[Tensor, "head batch pos d_v"]:
        """The gradient by the mixed values, from that by what the heads write."""
        attn = self.block.attention

        def written(mixed: Tensor) -> Tensor:
            z = normalise_mixed(attn, mixed)
            rows = project(z.flatten(1, 2), attn.w_o, None)
            return normalise_outputs(self.block, rows.unflatten(1, z.shape[1:3]))

        at_heads = at_output.expand(len(self.heads), *at_output.shape)
        return backpropagate(written, self.mixed, at_heads)

    def effects(
        self,
        slot: Slot,
        steps: Float[Tensor, "src batch pos d_model"],
        at_mixed: Float[Tensor, "n head batch pos d_v"],
    ) -> Float[Tensor, "n head src batch"]:
        """The effect, on each prompt, of adding a step to what one head reads in one slot.

        Args:
            slot: `q` or `k`.
            steps: one for each source.
            at_mixed: gradients by the mixed values.
        """
        parts = [self._effects(slot, some, at_mixed) for some in steps.split(self.sources_at_once)]
        return torch.cat(parts, dim=2)

    def _effects(
        self,
        slot: Slot,
        steps: Float[Tensor, "src batch pos d_model"],
        at_mixed: Float[Tensor, "n head batch pos d_v"],
    ) -> Float[Tensor, "n head src batch"]:
        inputs = (self.stream + steps).flatten(0, 2)[None]
        changed = project_stream(self.block, slot, self.heads, inputs)
        changed = changed.unflatten(1, steps.shape[:3])
        # The other slots are those of every source.
        slots: dict[Slot, Tensor] = {name: part[:, None] for name, part in self.slots.items()}
        norm = self.block.attention.norms[slot]
        if norm is None or norm.across == "head":
            step = self._mix({**slots, slot: changed}) - self.mixed[:, None]
            return torch.einsum("hsbpd,nhbpd->nhsb", step, at_mixed)
        # The norm mixes the heads: when one changes, so do the others.
        effects = []
        for head in self.heads:
            one = slots[slot].repeat(1, len(steps), 1, 1, 1)
            one[head] = changed[head]
            step = self._mix({**slots, slot: one}) - self.mixed[:, None]
            effects.append(torch.einsum("hsbpd,nhbpd->nsb", step, at_mixed))
        return torch.stack(effects, dim=1)

    def _mix(
        self, slots: Mapping[Slot, Float[Tensor, "head *_ pos _"]]
    ) -> Float[Tensor, "head *lead pos d_v"]:
        attn, heads = self.block.attention, self.heads
        pos = self.stream.shape[1]
        positions = torch.arange(pos, device=self.stream.device)
        queries, gate = split_gate(attn, slots["q"])
        q = finish_slot(queries, attn, "q", heads, positions)
        k, v = (finish_slot(slots[slot], attn, slot, heads, positions) for slot in ("k", "v"))
        allowed = visible_keys(attn, pos, self.stream.device)
        mixed = attention_pattern(q, k, attn, heads, positions, allowed) @ v
        return mixed if gate is None else mixed * gate
