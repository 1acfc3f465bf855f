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
from acdc_pipeline.engine.components import normalise
from acdc_pipeline.engine.experts import run_routed
from acdc_pipeline.engine.forward import (
    changed_streams,
    head_width,
    mlp_width,
    run_mixer,
    run_mlp_nodes,
    streams_from_outputs,
)
from acdc_pipeline.engine.objectives import Objective
from acdc_pipeline.engine.slots import Slots, project_slot, project_slots
from acdc_pipeline.graph import LOGITS, Edge, Node, Receiver

States = Float[Tensor, "state batch pos d_model"]

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
        self.at_once = states_that_fit(bench, memory)
        self._layer: tuple[int, Slots] | None = None

    def whole(self) -> float:
        """The objective of the whole model."""
        return float(self._objective(self.clean.final[None])[0])

    def without_edges(self, receiver: Receiver) -> Iterator[tuple[Edge, float]]:
        """Yield each edge into `receiver` with the objective of the model without it."""
        sources = self.topology.sources_of(receiver)
        for start in range(0, len(sources), self.at_once):
            some = sources[start : start + self.at_once]
            rows = slice(start, start + len(some))
            difference = self.bench.ablated[rows] - self.bench.clean.outputs[rows]
            if receiver.span is not None:
                difference = difference * self._in_span(receiver.span)
            values = self._objective(self._final(receiver, difference)).tolist()
            yield from zip((Edge.into(s, receiver) for s in some), values, strict=True)

    def without_nodes(self) -> Iterator[tuple[Node, str | None, float]]:
        """Yield each source with the objective when all its readers get its ablated output.

        In a graph with spans, each source and span, whose readers get that in the span alone.
        """
        for source in self.topology.sources:
            row = self.index[source]
            change = self.bench.ablated[row] - self.bench.clean.outputs[row]
            for span in self.topology.spans or (None,):
                part = change if span is None else change * self._in_span(span)
                yield source, span, float(self._objective(self._after(source, part[None]))[0])

    def _in_span(self, span: str) -> Float[Tensor, "batch pos 1"]:
        """1 at the positions of a span and 0 elsewhere."""
        index = self.bench.layout.span_index
        assert index is not None
        return (index == self.topology.spans.index(span))[..., None].to(self.bench.ablated)

    def _objective(self, final: States) -> Float[Tensor, " state"]:
        return self.objective(self.bench.layout.at_answers(final.flatten(1, 2)))

    def _final(self, receiver: Receiver, difference: States) -> States:
        """The final streams when `difference` is added to the clean input of `receiver`."""
        node = receiver.node
        if node == LOGITS:
            return self.clean.final + difference
        assert node.layer is not None
        block = self.weights.blocks[node.layer]
        if node.kind == "router":
            return self._after(node, self._routing_change(node, difference))
        if receiver.slot is None:
            x = self.clean.read_by(receiver) + difference
            written = run_mixer(block, x) if node.kind == "mixer" else self._run_node(node, x)
            return self._after(node, written - self.bench.clean.outputs[self.index[node]])
        return self._after(node, self._head_change(receiver, difference))

    def _run_node(self, node: Node, x: States) -> States:
        """What a node of an MLP writes for `x`; the router of a mixture reads the clean stream."""
        assert node.layer is not None
        place = self.index[node] - self.topology.mlp_sources(node.layer).start
        inputs = x[None]
        if node.kind == "expert":
            inputs = torch.stack([self.clean.mlps[node.layer].expand_as(x), x])
        return run_mlp_nodes(self.weights.blocks[node.layer], inputs, [place])[0]

    def _routing_change(self, router: Node, difference: States) -> States:
        """The change of a layer's output if `difference` is added to what its router reads."""
        assert router.layer is not None
        clean = self.clean.mlps[router.layer]
        block = self.weights.blocks[router.layer]
        written = run_routed(block, clean + difference, clean.expand_as(difference))
        experts = [self.index[node] for node in self.topology.routers[router]]
        return written - self.bench.clean.outputs[experts].sum(0)

    def _head_change(self, receiver: Receiver, difference: States) -> States:
        """The change of a layer's output if `difference` is added to the input of one head's slot.

        Only that head changes, or all of them in a coupled layer.
        """
        node, slot = receiver.node, receiver.slot
        assert node.layer is not None
        assert node.head is not None
        assert slot is not None
        block = self.weights.blocks[node.layer]
        heads = list(range(self.topology.n_heads)) if block.coupled else [node.head]
        x = normalise(self.clean.heads[node.layer] + difference, block.norm_attn)
        rows = project_slot(block.attention, slot, [node.head], x.flatten(0, 2)[None])
        changed = rows.view(*x.shape[:3], -1)
        n_states = len(difference)
        slots: Slots = {}
        for name, part in self._clean_slots(node.layer).items():
            repeated = part[heads][:, None].repeat(1, n_states, 1, 1, 1)
            if name == slot:
                repeated[heads.index(node.head)] = changed
            slots[name] = repeated.flatten(1, 2)
        allowed = visible_keys(block.attention, x.shape[2], x.device)
        written = attend(block, heads, slots, allowed).unflatten(1, (n_states, -1))
        sources = [self.index[self.topology.heads(node.layer)[head]] for head in heads]
        return (written - self.bench.clean.outputs[sources][:, None]).sum(0)

    def _clean_slots(self, layer: int) -> Slots:
        if self._layer is None or self._layer[0] != layer:
            block = self.weights.blocks[layer]
            x = normalise(self.clean.heads[layer], block.norm_attn)
            self._layer = (layer, project_slots(block.attention, x))
        return self._layer[1]

    def _after(self, source: Node, change: States) -> States:
        """The final streams when `change` is added to the clean output of `source`."""
        streams = changed_streams(self.weights, self.clean, source, change)
        return streams.final.unflatten(0, (len(change), -1))


def states_that_fit(bench: Bench, memory: int) -> int:
    """How many states fit into `memory` bytes, counting streams and one layer's temporaries."""
    n_heads, d_model = bench.weights.topology.n_heads, bench.weights.d_model
    d_head, pos = head_width(bench.weights), bench.layout.pos
    streams = (2 * len(bench.weights.blocks) + 8 + 2 * n_heads) * d_model
    layer = n_heads * (8 * d_head + 4 * pos) + 4 * mlp_width(bench.weights)
    rows = bench.layout.batch * pos
    per_state = rows * (streams + layer) * bench.ablated.element_size()
    return max(1, min(MAX_STATES, memory // per_state))
