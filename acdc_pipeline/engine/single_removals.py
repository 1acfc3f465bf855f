"""The whole model without a single edge or node.

Everything before the removal keeps its clean value, and after it all nodes read one stream, so a
removal costs one pass through the later layers.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.engine.attention import attend, visible_keys
from acdc_pipeline.engine.bench import Bench
from acdc_pipeline.engine.components import Stream, normalise
from acdc_pipeline.engine.experts import run_routed
from acdc_pipeline.engine.forward import (
    head_width,
    mlp_width,
    run_mixer,
    run_mlp_nodes,
    streams_from_outputs,
)
from acdc_pipeline.engine.live_rows import (
    AtAnswers,
    LiveRows,
    PackedRows,
    PackedSuffix,
    find_live_rows,
)
from acdc_pipeline.engine.objectives import Objective
from acdc_pipeline.engine.slots import Slots, project_slot
from acdc_pipeline.graph import LOGITS, Edge, Node, Receiver

# Beyond this many states a batch gains nothing: every product is already large.
MAX_STATES = 64


class SingleRemovals:
    """Evaluates the whole model without one edge, or without one node.

    Args:
        memory: bytes for the states evaluated together.
    """

    def __init__(self, bench: Bench, objective: Objective, memory: int) -> None:
        self.bench = bench
        self.weights = bench.weights
        self.topology = bench.weights.topology
        self.objective = objective
        self.clean = streams_from_outputs(bench.weights, bench.clean)
        self.index = self.topology.source_index
        self.rows = find_live_rows(bench)
        self.suffix = PackedSuffix(bench.weights, self.clean, self.rows)
        self.at_once = states_that_fit(bench, self.rows, memory)

    def whole(self) -> float:
        """The objective of the whole model."""
        return float(self.objective(self._answers(self.clean.final)[None])[0])

    def without_edges(self, receiver: Receiver) -> Iterator[tuple[Edge, float]]:
        """Yield each edge into `receiver` with the objective of the model without it."""
        sources = self.topology.sources_of(receiver)
        for start in range(0, len(sources), self.at_once):
            some = sources[start : start + self.at_once]
            rows = slice(start, start + len(some))
            values = self.objective(self._final(receiver, self._difference(rows, receiver.span)))
            yield from zip((Edge.into(s, receiver) for s in some), values.tolist(), strict=True)

    def without_nodes(self) -> Iterator[tuple[Node, str | None, float]]:
        """Yield each source with the objective when all its readers get its ablated output.

        In a graph with spans, each source and span, whose readers get that in the span alone.
        """
        for source in self.topology.sources:
            row = self.index[source]
            for span in self.topology.spans or (None,):
                change = self._difference(slice(row, row + 1), span)
                yield source, span, float(self.objective(self._after(source, change))[0])

    def _difference(self, sources: slice, span: str | None) -> PackedRows:
        """Ablated minus clean output of some sources, 0 outside of the span if one is given."""
        ablated, clean = self.bench.ablated[sources], self.bench.clean.outputs[sources]
        difference = self.rows.pack(ablated) - self.rows.pack(clean)
        if span is None:
            return difference
        index = self.bench.layout.span_index
        assert index is not None
        within = index.flatten()[self.rows.index] == self.topology.spans.index(span)
        return difference * within[:, None].to(difference)

    def _answers(self, stream: Stream) -> Float[Tensor, "answer d_model"]:
        return self.bench.layout.at_answers(stream.flatten(0, 1))

    def _final(self, receiver: Receiver, difference: PackedRows) -> AtAnswers:
        """The final streams at the answers if `difference` is added to the input of `receiver`."""
        node = receiver.node
        if node == LOGITS:
            at_answers = difference.index_select(1, self.rows.answers)
            return self._answers(self.clean.final) + at_answers
        assert node.layer is not None
        block = self.weights.blocks[node.layer]
        if node.kind == "router":
            return self._after(node, self._routing_change(node, difference))
        if receiver.slot is None:
            clean = self.clean.read_by(receiver)
            x = self.rows.pack(clean) + difference
            if node.kind == "mixer":
                written = self.rows.pack(run_mixer(block, self.rows.unpack(x, clean)))
            else:
                written = self._run_node(node, x)
            return self._after(node, written - self._written(self.index[node]))
        return self._after(node, self._head_change(receiver, difference))

    def _written(self, source: int) -> Float[Tensor, "row d_model"]:
        """The clean output of a source."""
        return self.rows.pack(self.bench.clean.outputs[source])

    def _run_node(self, node: Node, x: PackedRows) -> PackedRows:
        """What a node of an MLP writes for `x`; the router of a mixture reads the clean stream."""
        assert node.layer is not None
        place = self.index[node] - self.topology.mlp_sources(node.layer).start
        inputs = x[None]
        if node.kind == "expert":
            inputs = torch.stack([self.rows.pack(self.clean.mlps[node.layer]).expand_as(x), x])
        return run_mlp_nodes(self.weights.blocks[node.layer], inputs, [place])[0]

    def _routing_change(self, router: Node, difference: PackedRows) -> PackedRows:
        """The change of a layer's output if `difference` is added to what its router reads."""
        assert router.layer is not None
        clean = self.rows.pack(self.clean.mlps[router.layer])
        block = self.weights.blocks[router.layer]
        written = run_routed(block, clean + difference, clean.expand_as(difference))
        experts = [self.index[node] for node in self.topology.routers[router]]
        return written - self.rows.pack(self.bench.clean.outputs[experts].sum(0))

    def _head_change(self, receiver: Receiver, difference: PackedRows) -> PackedRows:
        """The change of a layer's output if `difference` is added to the input of one head's slot.

        Only that head changes, or all of them in a coupled layer.
        """
        node, slot = receiver.node, receiver.slot
        assert node.layer is not None
        assert node.head is not None
        assert slot is not None
        block = self.weights.blocks[node.layer]
        heads = list(range(self.topology.n_heads)) if block.coupled else [node.head]
        n_states, pos = len(difference), self.rows.pos
        x = normalise(self.rows.pack(self.clean.heads[node.layer]) + difference, block.norm_attn)
        rows = project_slot(block.attention, slot, [node.head], x.flatten(0, 1)[None])[0]
        slots: Slots = {}
        for name, part in self.suffix.clean_slots(node.layer).items():
            group = 1 if name == "q" else block.attention.heads_per_kv
            repeated = part[[head // group for head in heads]][:, None].repeat(1, n_states, 1, 1, 1)
            if name == slot:
                changed = rows.unflatten(0, (n_states, -1))
                rest = part[node.head // group]
                repeated[heads.index(node.head)] = self.rows.unpack(changed, rest)
            slots[name] = repeated.flatten(1, 2)
        allowed = visible_keys(block.attention, pos, x.device)
        written = attend(block, heads, slots, allowed).unflatten(1, (n_states, -1))
        sources = [self.index[self.topology.heads(node.layer)[head]] for head in heads]
        return (
            self.rows.pack(written) - self.rows.pack(self.bench.clean.outputs[sources])[:, None]
        ).sum(0)

    def _after(self, source: Node, change: PackedRows) -> AtAnswers:
        """The final streams at the answers if `change` is added to the output of `source`."""
        layer = -1 if source.layer is None else source.layer  # the input is read by layer 0
        beside = source.kind in ("head", "mixer")
        if beside and layer in self.clean.mlps and not self.weights.parallel:
            return self.suffix.from_mlp(layer, self.rows.pack(self.clean.mlps[layer]) + change)
        before = self.clean.before(layer + 1)
        return self.suffix.from_layer(layer + 1, self.rows.pack(before) + change)


def states_that_fit(bench: Bench, rows: LiveRows, memory: int) -> int:
    """How many states fit into `memory` bytes, counting the temporaries of one layer."""
    n_heads, d_model, pos = bench.weights.topology.n_heads, bench.weights.d_model, rows.pos
    by_row = 10 * d_model + 4 * mlp_width(bench.weights) + 3 * n_heads * head_width(bench.weights)
    by_position = n_heads * (10 * head_width(bench.weights) + 4 * pos)
    elements = len(rows.index) * by_row + rows.batch * pos * by_position
    return max(1, min(MAX_STATES, memory // (elements * bench.ablated.element_size())))
