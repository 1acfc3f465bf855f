"""Everything from one receiver on, for a batch of states that differ in its input."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.components import (
    attention_pattern,
    normalise,
    normalise_heads,
    project,
    rotate,
    shares,
    widened,
)
from acdc_pipeline.engine.forward import (
    SourceOutputs,
    mlp_written,
    visible_keys,
)
from acdc_pipeline.engine.layout import Layout, Needed
from acdc_pipeline.engine.present import Present
from acdc_pipeline.engine.streams import Streams
from acdc_pipeline.graph import LOGITS, Node, Receiver, Slot, mlp
from acdc_pipeline.models.weights import Attention, TransformerWeights

Rows = Float[Tensor, "state rows d_model"]


class CoupledSuffix:
    """One batch on its way from a receiver to the logits.

    `changed` holds what alive nodes write minus what they write in the clean run, `stream` the
    sum of that over all nodes; both are cut down to the answers as soon as nothing else is read.
    """

    def __init__(
        self,
        weights: TransformerWeights,
        clean: SourceOutputs,
        streams: Streams,
        layout: Layout,
        present: Present,
    ) -> None:
        self.weights = weights
        self.topology = weights.topology
        self.clean = clean
        self.streams = streams
        self.layout = layout
        self.present = present
        self.index = {node: i for i, node in enumerate(self.topology.sources)}
        self.changed: dict[Node, Rows] = {}
        self.rows = Needed.EVERY

    def final(self, start: Receiver, delta: Rows) -> Float[Tensor, "state answer d_model"]:
        """The final residual streams when the input of `start` moves by `delta`."""
        self.start, self.delta, self.n_states = start, delta, len(delta)
        if start.node == LOGITS:
            return self.present.inputs[start] + delta
        assert start.node.layer is not None
        every_row = self.layout.batch * self.layout.pos
        self.stream: Rows = delta.new_zeros(1, every_row, self.weights.d_model)
        for layer in range(start.node.layer, self.topology.n_layers):
            # Heads that read the same stream as the MLP where the batch starts are clean.
            starts_behind = start.slot is None and layer == start.node.layer
            before = self.stream
            needed = self.present.needed_heads(layer)
            written = None if starts_behind or needed is None else self._heads(layer, needed)
            if needed is not Needed.EVERY and self.rows is Needed.EVERY:
                self._cut_to_answers()
                before = self.layout.at_answers(before)
            if written is not None:
                self.changed |= written[0]
                self.stream = self.stream + written[1]
            self._mlp(layer, before if self.weights.parallel else self.stream)
        return self._input(Receiver(LOGITS))

    def _cut_to_answers(self) -> None:
        self.rows = Needed.ANSWERS
        self.stream = self.layout.at_answers(self.stream)
        self.changed = {n: self.layout.at_answers(rows) for n, rows in self.changed.items()}

    def _input(self, receiver: Receiver) -> Rows:
        """What a visited receiver reads now, at the rows where it is needed."""
        total = self.present.inputs[receiver][None]
        if receiver == self.start:
            return total + self.delta
        cut = self.present.needed(receiver) if self.rows is Needed.EVERY else Needed.EVERY
        for source in self.present.kept[receiver]:
            if source in self.changed:
                total = total + self._at(self.changed[source], cut)
        return total.expand(self.n_states, *total.shape[1:])

    def _clean(self, receiver: Receiver) -> Float[Tensor, "rows d_model"]:
        return self.streams.read_by(receiver).flatten(0, 1)

    def _at(
        self, rows: Float[Tensor, "*lead rows width"], needed: Needed
    ) -> Float[Tensor, "*lead needed width"]:
        return self.layout.at_answers(rows) if needed is Needed.ANSWERS else rows

    def _mlp(self, layer: int, stream: Rows) -> None:
        node = mlp(layer)
        receiver = Receiver(node)
        dead = node not in self.present.alive
        if not self.topology.has_mlp or (dead and self.rows is Needed.ANSWERS):
            return
        if receiver in self.present.inputs:
            x = self._input(receiver)
        else:
            x = self._at(self._clean(receiver), self.rows) + stream
        clean = self._at(self.clean.outputs[self.index[node]].flatten(0, 1), self.rows)
        change = mlp_written(self.weights.blocks[layer], x) - clean
        self.stream = self.stream + change
        if not dead:
            self.changed[node] = change

    def _heads(self, layer: int, needed: Needed) -> tuple[dict[Node, Rows], Rows]:
        """By how much the alive heads of a layer, and all together, write more than clean."""
        block = self.weights.blocks[layer]
        nodes = self.topology.heads(layer)
        z = self._mixed(layer, nodes, needed)
        flat = z.permute(1, 2, 0, 3).flatten(2)
        total = flat @ widened(block.attn.w_o, flat).flatten(0, 1)
        alive = [node for node in nodes if node in self.present.alive]
        rows = [node.head for node in alive if node.head is not None]
        raw = project(z[rows].flatten(1, 2), block.attn.w_o[rows], None)
        parts = raw.unflatten(1, z.shape[1:3])
        if block.post_attn is not None:
            parts = shares(parts, total, block.post_attn)
            total = normalise(total, block.post_attn)
        first = self.index[nodes[0]]
        clean = self._at(self.clean.outputs[first : first + len(nodes)].flatten(1, 2), needed)
        changed = dict(zip(alive, parts - clean[rows][:, None], strict=True))
        return changed, total - clean.sum(0)

    def _mixed(
        self, layer: int, nodes: list[Node], needed: Needed
    ) -> Float[Tensor, "head state rows d_head"]:
        """The values that every head of a layer has gathered."""
        attn = self.weights.blocks[layer].attn
        layout = self.layout
        positions = torch.arange(layout.pos, device=self.stream.device)
        allowed = visible_keys(attn, layout.pos, self.stream.device)
        at, every = positions, (layout.batch, layout.pos)
        shape = every
        if needed is Needed.ANSWERS:
            at, allowed = layout.answer_pos[:, None], allowed[layout.answer_pos][:, None]
            shape = (len(layout.answer_row), 1)
        q = self._projected(layer, nodes, "q", needed).unflatten(2, shape)
        k = self._projected(layer, nodes, "k", Needed.EVERY).unflatten(2, every)
        v = self._projected(layer, nodes, "v", Needed.EVERY).unflatten(2, every)
        if attn.q_norm is not None:
            q = normalise_heads(q, attn.q_norm, range(len(nodes)))
        if attn.k_norm is not None:
            k = normalise_heads(k, attn.k_norm, _weight_rows(attn, "k"))
        if attn.rotary is not None:
            q, k = rotate(q, attn.rotary, at), rotate(k, attn.rotary, positions)
        if needed is Needed.ANSWERS and not layout.one_answer_per_prompt:
            k, v = k.index_select(2, layout.answer_row), v.index_select(2, layout.answer_row)
        return (attention_pattern(q, k, attn, allowed) @ v).flatten(2, 3)

    def _projected(
        self, layer: int, nodes: list[Node], slot: Slot, needed: Needed
    ) -> Float[Tensor, "head state rows d_head"]:
        """Queries, keys or values of a layer; heads that were never visited read one stream."""
        block = self.weights.blocks[layer]
        weight, bias = _slot_weights(block.attn, slot)
        rows = _weight_rows(block.attn, slot)
        receivers = [Receiver(node, slot) for node in nodes]
        own = [i for i, r in enumerate(receivers) if r in self.present.inputs]
        rest = [i for i, r in enumerate(receivers) if r not in self.present.inputs]
        n_rows = self.layout.n_rows(needed)
        out = self.delta.new_empty(len(nodes), self.n_states, n_rows, weight.shape[2])
        shared = self._at(self._clean(receivers[0]) + self.stream, needed)[None]
        inputs = [(rest, shared)] if rest else []
        if own:
            inputs.append((own, torch.stack([self._input(receivers[i]) for i in own])))
        for heads, x in inputs:
            at = [rows[i] for i in heads]
            flat = normalise(x, block.norm_attn).flatten(1, 2)
            projected = project(flat, weight[at], None if bias is None else bias[at])
            out[heads] = projected.unflatten(1, x.shape[1:3]).expand(-1, self.n_states, -1, -1)
        return out


def _slot_weights(
    attn: Attention, slot: Slot
) -> tuple[Float[Tensor, "n d_model d_head"], Float[Tensor, "n d_head"] | None]:
    return {"q": (attn.w_q, attn.b_q), "k": (attn.w_k, attn.b_k), "v": (attn.w_v, attn.b_v)}[slot]


def _weight_rows(attn: Attention, slot: Slot) -> list[int]:
    """Where each query head's weights of `slot` are."""
    group = 1 if slot == "q" else attn.heads_per_kv
    return [h // group for h in range(attn.w_q.shape[0])]
