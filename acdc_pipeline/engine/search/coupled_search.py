"""The search that recomputes every later layer, for models whose heads change one another.

Where a norm follows the attention, or spans the queries of a layer, a head that nobody reads still
changes what the others write, and so does everything it reads. `SubgraphSearch`, which follows a
change along present edges only, would miss that. Here each state runs the whole suffix from the
receiver on; what comes before it is untouched and taken from the clean run. A dead node keeps its
untested incoming edges, so it is computed as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.attention import attention_pattern, visible_keys
from acdc_pipeline.engine.components import normalise, normalise_parts, project, widen
from acdc_pipeline.engine.forward import (
    SourceOutputs,
    expert_receivers,
    head_width,
    mlp_width,
    run_mixer_rows,
    run_mlp_nodes,
    streams_from_outputs,
    subtract_outputs,
)
from acdc_pipeline.engine.layout import Layout, Needed, reads_every_row
from acdc_pipeline.engine.objectives import Objective
from acdc_pipeline.engine.search.model_search import ModelSearch
from acdc_pipeline.engine.search.speculation import PlannedState
from acdc_pipeline.engine.slots import finish_slot, normalise_mixed, project_slot, split_gate
from acdc_pipeline.engine.spill import Spill, tensor_dict
from acdc_pipeline.engine.without_edges import Without
from acdc_pipeline.graph import LOGITS, Node, NodeKind, Receiver, Slot, mixer
from acdc_pipeline.models.weights import TransformerWeights

Rows = Float[Tensor, "state rows d_model"]
Stream = Float[Tensor, "_ _ d_model"]
"""The stream of each state, or one for all; at the rows that are still read."""


class CoupledSearch(ModelSearch[None]):
    """Correct for every model, but slower than `SubgraphSearch` where heads are independent.

    Attributes:
        inputs: what each visited receiver reads while every source is clean: ablated outputs on
            removed edges. Receivers that were never visited read every source.
        absent: the sources of edges that the model lacks from the beginning, `clean` included.
    """

    max_states = 128
    first_overhead = 2.0

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
        self.absent = {source for sources in self.without.values() for source in sources}
        self.streams = streams_from_outputs(weights, clean)
        self.difference = subtract_outputs(ablated, clean, spill).flatten(1, 2)
        self.inputs: dict[Receiver, Float[Tensor, "rows d_model"]] = tensor_dict(spill)

    def fork(self) -> Self:
        other = super().fork()
        other.inputs = self.inputs.copy()
        return other

    @property
    def held(self) -> int:
        return sum(stream.nbytes for stream in self.inputs.values())

    def needed_heads(self, layer: int) -> Needed | None:
        """The rows at which the heads of this layer are read; None if nothing reads them.

        A later layer with a living head attends to all of this one, dead nodes included. A later
        mixer that lives reads every row as well.
        """
        return self._needed_at(layer, "head")

    def needed_mixer(self, layer: int) -> Needed | None:
        """The rows at which the mixer of this layer is read; None if nothing reads it."""
        return self._needed_at(layer, "mixer")

    def _needed_at(self, layer: int, kind: NodeKind) -> Needed | None:
        across = [node for node in self.readers if node.kind in ("head", "mixer")]
        if any(node.layer is not None and node.layer > layer for node in across):
            return Needed.EVERY
        here = any(node.layer == layer and node.kind == kind for node in across)
        return Needed.ANSWERS if here else None

    def needed(self, receiver: Receiver) -> Needed:
        """The rows at which a receiver of a living node is needed."""
        if receiver.node == LOGITS:
            return Needed.ANSWERS
        assert receiver.node.layer is not None
        if reads_every_row(receiver):
            return Needed.EVERY
        return self.needed_heads(receiver.node.layer) or Needed.ANSWERS

    def follows(self, node: Node) -> bool:
        """Whether the changes of a node are kept apart from the sum of all."""
        return node in self.readers or node in self.absent

    def lacks(self, receiver: Receiver) -> bool:
        """Whether a receiver, given by its key, lacks edges from the beginning."""
        return receiver in self.without

    def clean_stream(self, receiver: Receiver) -> Float[Tensor, "rows d_model"]:
        """What a receiver, given by its key, reads at every row while every source is clean."""
        stream = self.streams.read_by(receiver).flatten(0, 1)
        for source in self.without.get(receiver, ()):
            stream = stream + self.difference[self.topology.source_index[source]]
        return stream

    def unvisited_change(
        self, receiver: Receiver, changed: Mapping[Node, Stream], stream: Stream
    ) -> Stream:
        """By how much the input of a receiver changes that was never visited, given by its key.

        Arguments are those of `carried`; so is the result, at the rows that `stream` has.
        """
        for source in self.without.get(receiver, ()):
            if source in changed:
                stream = stream - changed[source]
        return stream

    def key(self, receiver: Receiver) -> Receiver:
        """The key of a receiver in `inputs`."""
        return receiver

    def carried(
        self, receiver: Receiver, changed: Mapping[Node, Stream], stream: Stream, needed: Needed
    ) -> Stream:
        """What a visited receiver reads, at the rows where it is needed.

        Args:
            receiver: its key.
            changed: what living nodes write minus what they write in the clean run.
            stream: the sum of that over all nodes that the receiver could read.
            needed: the rows to select from these.
        """
        del stream
        total = self.inputs[receiver][None]
        for source in self.kept[receiver]:
            if source in changed:
                total = total + self.layout.select(changed[source], needed)
        return total

    def _at_rows(
        self, receiver: Receiver, outputs: Float[Tensor, "*src rows d_model"]
    ) -> Float[Tensor, "*src needed d_model"]:
        """Outputs of sources as a receiver reads them, at the rows where it is needed."""
        return self.layout.select(outputs, self.needed(receiver))

    def _refresh(self) -> bool:
        """Nothing to recompute: what is stored follows from the decisions so far alone."""
        return True

    def _open(self, receiver: Receiver) -> None:
        self.inputs[receiver] = self.layout.select(
            self.clean_stream(receiver), self.needed(receiver)
        )

    def _whole_model(self) -> float:
        whole = self.layout.at_answers(self.clean_stream(self.key(Receiver(LOGITS))))
        return float(self.objective(whole[None])[0])

    def _remove(self, receiver: Receiver, source: Node) -> None:
        super()._remove(receiver, source)
        difference = self._at_rows(receiver, self.difference[self.topology.source_index[source]])
        key = self.key(receiver)
        self.inputs[key] = self.inputs[key] + difference

    def _commit(self, batch: None, state: int) -> None:
        """Nothing to do: `_remove` updates all that is stored."""

    def _final(
        self, receiver: Receiver, plan: Sequence[PlannedState]
    ) -> tuple[Float[Tensor, "state answer d_model"], None]:
        index = self.topology.source_index
        removed = sorted({index[node] for state in plan for node in state.removed})
        mask = self.difference.new_zeros(len(plan), len(removed))
        for k, state in enumerate(plan):
            mask[k, [removed.index(index[node]) for node in state.removed]] = 1
        delta = torch.tensordot(mask, self._at_rows(receiver, self.difference[removed]), dims=1)
        return _Suffix(self, self.key(receiver), delta).final(), None

    def states_that_fit(self, receiver: Receiver) -> int:
        """Counts the changes of living nodes and one layer's temporaries."""
        # A query needed at the answers alone still meets keys of every row.
        needed = self.needed(receiver) if receiver.slot is None else Needed.EVERY
        rows = self.layout.n_rows(needed)
        n_heads, d_model = self.topology.n_heads, self.weights.d_model
        d_head = head_width(self.weights)
        visited = max(
            sum(r.node.layer == layer for r in self.kept) for layer in range(self.topology.n_layers)
        )
        streams = (len(self.readers) + 2 * visited + n_heads + 8) * d_model
        streams += 4 * expert_receivers(self.weights) * d_model
        heads = n_heads * (6 * d_head + 3 * self.layout.pos)
        per_state = (
            rows * (streams + heads + 4 * mlp_width(self.weights)) * self.difference.element_size()
        )
        return max(1, min(self.max_states, self.memory // per_state))


class _Suffix:
    """A batch of states that differ in one receiver's input, run from there to the logits.

    `changed` holds what living nodes write minus what they write in the clean run, `stream` the
    sum of that over all nodes. Both are cut to the answer rows as soon as nothing else is read.

    Args:
        delta: the change of its input in each state.
    """

    def __init__(self, search: CoupledSearch, start: Receiver, delta: Rows) -> None:
        self.search = search
        self.weights = search.weights
        self.topology = search.topology
        self.layout = search.layout
        self.start, self.delta, self.n_states = start, delta, len(delta)
        self.changed: dict[Node, Rows] = {}
        self.rows = Needed.EVERY

    def final(self) -> Float[Tensor, "state answer d_model"]:
        """The final residual streams at the answers."""
        start = self.start
        if start.node == LOGITS:
            return self.search.inputs[start] + self.delta
        assert start.node.layer is not None
        every_row = self.layout.batch * self.layout.pos
        self.stream: Rows = self.delta.new_zeros(1, every_row, self.weights.d_model)
        for layer in range(start.node.layer, self.topology.n_layers):
            before = self.stream
            needed = self.search.needed_heads(layer)
            across = list(self._run_across(layer, needed))
            if needed is not Needed.EVERY and self.rows is Needed.EVERY:
                self.rows = Needed.ANSWERS
                self.stream, before = map(self.layout.at_answers, (self.stream, before))
                self.changed = {n: self.layout.at_answers(rows) for n, rows in self.changed.items()}
            for changed, total in across:
                self.changed |= changed
                self.stream = self.stream + total
            self._run_mlp(layer, before if self.weights.parallel else self.stream)
        return self._input(Receiver(LOGITS), self.stream)

    def _run_across(
        self, layer: int, needed: Needed | None
    ) -> Iterator[tuple[dict[Node, Rows], Rows]]:
        """By how much living nodes of a layer's heads and mixer, and all, write more than clean."""
        # Where the batch starts, nodes that are visited after its own are clean.
        kinds: tuple[NodeKind, ...] = ("head", "mixer")
        if layer == self.start.node.layer and self.start.slot is None:
            kinds = ("mixer",) if self.start.node.kind == "mixer" else ()
        of_mixer = self.search.needed_mixer(layer)
        if "head" in kinds and needed is not None and self.topology.heads(layer):
            yield self._run_heads(layer, needed)
        if "mixer" in kinds and of_mixer is not None and mixer(layer) in self.topology.source_index:
            yield self._run_mixer(layer, of_mixer)

    def _input(self, receiver: Receiver, stream: Stream) -> Rows:
        """What a visited receiver reads in each state, at the rows where it is needed.

        Args:
            stream: by how much the stream changes that it would read if every edge were present.
        """
        if receiver == self.start:
            return self.search.inputs[receiver][None] + self.delta
        cut = self.search.needed(receiver) if self.rows is Needed.EVERY else Needed.EVERY
        total = self.search.carried(receiver, self.changed, stream, cut)
        return total.expand(self.n_states, *total.shape[1:])

    def _run_mlp(self, layer: int, stream: Rows) -> None:
        """Add what the MLP of a layer writes more than when clean, or each node that it has."""
        nodes = self.topology.mlp_nodes(layer)
        alive = [self.search.follows(node) for node in nodes]
        if not nodes or (not any(alive) and self.rows is Needed.ANSWERS):
            return
        inputs: list[Rows] = []
        for receiver in self.topology.receivers_of(nodes):
            if receiver in self.search.inputs:
                inputs.append(self._input(receiver, stream))
            else:
                clean_stream = self.search.clean_stream(receiver)
                change = self.search.unvisited_change(receiver, self.changed, stream)
                inputs.append(self.layout.select(clean_stream, self.rows) + change)
        x = inputs[0][None] if len(inputs) == 1 else torch.stack(torch.broadcast_tensors(*inputs))
        written = run_mlp_nodes(self.weights.blocks[layer], x, range(len(nodes)))
        for node, lives, output in zip(nodes, alive, written, strict=True):
            clean = self.search.clean.outputs[self.topology.source_index[node]].flatten(0, 1)
            change = output - self.layout.select(clean, self.rows)
            self.stream = self.stream + change
            if lives:
                self.changed[node] = change

    def _run_mixer(self, layer: int, needed: Needed) -> tuple[dict[Node, Rows], Rows]:
        """By how much the mixer of a layer writes more than when clean; by node if it lives."""
        node = mixer(layer)
        receiver, source = Receiver(node), self.topology.source_index[node]
        if receiver in self.search.inputs:
            x = self._input(receiver, self.stream)
        else:
            change = self.search.unvisited_change(receiver, self.changed, self.stream)
            x = self.search.clean_stream(receiver) + change
        clean = self.layout.select(self.search.clean.outputs[source].flatten(0, 1), needed)
        written = run_mixer_rows(self.weights.blocks[layer], x, self.layout)
        change = self.layout.select(written, needed) - clean
        return {node: change} if self.search.follows(node) else {}, change

    def _run_heads(self, layer: int, needed: Needed) -> tuple[dict[Node, Rows], Rows]:
        """By how much living heads of a layer, and all together, write more than when clean."""
        block = self.weights.blocks[layer]
        nodes = self.topology.heads(layer)
        z = self._mixed_values(layer, nodes, needed)
        flat = z.permute(1, 2, 0, 3).flatten(2)
        total = flat @ widen(block.attention.w_o, flat).flatten(0, 1)
        alive = [node for node in nodes if self.search.follows(node)]
        rows = [node.head for node in alive if node.head is not None]
        raw = project(z[rows].flatten(1, 2), block.attention.w_o[rows], None)
        parts = raw.unflatten(1, z.shape[1:3])
        if block.post_attn is not None:
            parts = normalise_parts(parts, total, block.post_attn)
            total = normalise(total, block.post_attn)
        first = self.topology.source_index[nodes[0]]
        outputs = self.search.clean.outputs[first : first + len(nodes)].flatten(1, 2)
        clean = self.layout.select(outputs, needed)
        changed = dict(zip(alive, parts - clean[rows][:, None], strict=True))
        return changed, total - clean.sum(0)

    def _mixed_values(
        self, layer: int, nodes: list[Node], needed: Needed
    ) -> Float[Tensor, "head state rows d_head"]:
        """The values of every head of a layer, summed with its attention pattern as weights."""
        attn = self.weights.blocks[layer].attention
        layout = self.layout
        positions = torch.arange(layout.pos, device=self.stream.device)
        allowed = visible_keys(attn, layout.pos, self.stream.device)
        at, every = positions, (layout.batch, layout.pos)
        shape = every
        if needed is Needed.ANSWERS:
            at, allowed = layout.answer_pos[:, None], allowed[layout.answer_pos][:, None]
            shape = (len(layout.answer_row), 1)
        heads = range(len(nodes))
        q = self._project(layer, nodes, "q", needed).unflatten(2, shape)
        k = self._project(layer, nodes, "k", Needed.EVERY).unflatten(2, every)
        v = self._project(layer, nodes, "v", Needed.EVERY).unflatten(2, every)
        q, gate = split_gate(attn, q)
        q = finish_slot(q, attn, "q", heads, at)
        k = finish_slot(k, attn, "k", heads, positions)
        v = finish_slot(v, attn, "v", heads, positions)
        if needed is Needed.ANSWERS and not layout.one_answer_per_prompt:
            k, v = k.index_select(2, layout.answer_row), v.index_select(2, layout.answer_row)
        z = attention_pattern(q, k, attn, heads, at, allowed) @ v
        return normalise_mixed(attn, z if gate is None else z * gate).flatten(2, 3)

    def _project(
        self, layer: int, nodes: list[Node], slot: Slot, needed: Needed
    ) -> Float[Tensor, "head state rows d_head"]:
        """Queries, keys or values of a layer; heads that were never visited read one stream."""
        block = self.weights.blocks[layer]
        receivers = [Receiver(node, slot) for node in nodes]
        own = [i for i, r in enumerate(receivers) if r in self.search.inputs]
        rest = [i for i, r in enumerate(receivers) if r not in self.search.inputs]
        lacking = [i for i in rest if self.search.lacks(receivers[i])]
        rest = [i for i in rest if i not in lacking]
        n_rows = self.layout.n_rows(needed)
        width = block.attention.matrices[slot].shape[2]
        out = self.delta.new_empty(len(nodes), self.n_states, n_rows, width)
        stream = self.search.streams.read_by(receivers[0]).flatten(0, 1) + self.stream
        inputs = [(rest, self.layout.select(stream, needed)[None])] if rest else []
        if own:
            inputs.append((own, torch.stack([self._input(receivers[i], self.stream) for i in own])))
        for i in lacking:
            change = self.search.unvisited_change(receivers[i], self.changed, self.stream)
            x = self.layout.select(self.search.clean_stream(receivers[i]) + change, needed)
            inputs.append(([i], x[None]))
        for heads, x in inputs:
            flat = normalise(x, block.norm_attn).flatten(1, 2)
            projected = project_slot(block.attention, slot, heads, flat)
            out[heads] = projected.unflatten(1, x.shape[1:3]).expand(-1, self.n_states, -1, -1)
        return out
