"""Gates between 0 and 1 on every edge or node: forward passes, and gradients by each gate.

A gate of 1 passes a source's current output, 0 its ablated one, and in between a mixture. With
gates of 0 and 1 alone, edge gates are `run_circuits`.

The backward pass of edge gates goes layer by layer, from the last. Each layer is run again from
what its receivers read, so that the activations of one layer are held and not of all. The gradient
by a source's output is a running sum over its readers, and three matrix products per layer and span
give the gradients by gates and by sources.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial, reduce

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.engine.answer_batches import OutputsOfPrompts
from acdc_pipeline.engine.attention import attend, visible_keys
from acdc_pipeline.engine.bench import Bench
from acdc_pipeline.engine.components import Stream, normalise
from acdc_pipeline.engine.forward import (
    embed,
    expert_receivers,
    head_width,
    mlp_width,
    run_mixer,
    run_mlp_nodes,
)
from acdc_pipeline.engine.gradients.receiver_gradients import backpropagate, final_gradient
from acdc_pipeline.engine.objectives import LogprobObjective
from acdc_pipeline.engine.receiver_forward import Bases, Outputs, ReceiverForward
from acdc_pipeline.engine.slots import project_slots
from acdc_pipeline.engine.span_rows import rows_by_span
from acdc_pipeline.graph import LOGITS, SLOTS, Receiver, mixer, mlp
from acdc_pipeline.models.weights import TransformerWeights

_ROWS = 192
"""Positions processed together: more do not speed up products, and add memory traffic."""

SpanOfRows = tuple[str | None, Int[Tensor, " row"] | None]
"""A span and its rows among the positions of all prompts, see `rows_by_span`."""

Backward = Callable[[Stream], Float[Tensor, " gate"]]
"""From the gradient by the final stream to that by the gates."""


def edge_gate_gradient(
    bench: Bench,
    objective: LogprobObjective,
    gates: Float[Tensor, " edge"],
    memory: int,
) -> Float[Tensor, " edge"]:
    """The gradient of the objective by the gate of each edge, in the order of the graph's edges.

    Args:
        gates: between 0 and 1.
        memory: bytes for activations, which limit how many prompts are processed together.
    """

    def forward(chosen: slice) -> tuple[Stream, Backward]:
        run = EdgeGated(bench.weights, bench.ablated[:, chosen], gates, _spans_of(bench, chosen))
        return run.final(embed(bench.weights, bench.prompts.clean[chosen])), run.backward

    return gradient_by_gates(bench, objective, forward, prompts_that_fit(bench, memory))


def edge_gate_gradient_from(
    bench: Bench,
    at_answers: Float[Tensor, "answer d_model"],
    gates: Float[Tensor, " edge"],
    memory: int,
) -> Float[Tensor, " edge"]:
    """As `edge_gate_gradient`, of a function whose gradient by the final streams is known.

    One forward and one backward pass.

    Args:
        at_answers: that gradient, at the answers.
    """
    layout, at_once = bench.layout, prompts_that_fit(bench, memory)
    at_final = bench.ablated.new_zeros(layout.batch * layout.pos, bench.weights.d_model)
    at_final.index_add_(0, layout.answer_index, at_answers)
    at_final = at_final.view(layout.batch, layout.pos, -1)
    total = torch.zeros_like(gates)
    with torch.no_grad():
        for start in range(0, layout.batch, at_once):
            some = slice(start, start + at_once)
            run = EdgeGated(bench.weights, bench.ablated[:, some], gates, _spans_of(bench, some))
            run.final(embed(bench.weights, bench.prompts.clean[some]))
            total += run.backward(at_final[some])
    return total


def circuit_gradient(
    bench: Bench,
    objective: LogprobObjective,
    present: Float[Tensor, " edge"],
    share: float,
    memory: int,
) -> Float[Tensor, " edge"]:
    """The first-order cost of removing each edge of a circuit, between ablated and clean inputs.

        (ablated_u - u's output in the circuit) · ∂M/∂input_v

    The gradient is taken in the circuit where `input` writes its ablated output plus `share` of
    the step to the clean one.

    Args:
        present: 1 for an edge of the circuit, 0 for another.
        share: from 0 (ablated) to 1 (clean).
    """

    def forward(chosen: slice) -> tuple[Stream, Backward]:
        ablated, spans = bench.ablated[:, chosen], _spans_of(bench, chosen)
        clean = embed(bench.weights, bench.prompts.clean[chosen])
        whole = EdgeGated(bench.weights, ablated, present, spans)
        whole.final(clean)
        steps = [-changes for changes in whole.changes]
        run = EdgeGated(bench.weights, ablated, present, spans, steps)
        return run.final(ablated[0] + share * (clean - ablated[0])), run.backward

    return gradient_by_gates(bench, objective, forward, prompts_that_fit(bench, memory))


class EdgeGated(ReceiverForward):
    """A forward pass with gated edges, and its backward pass.

    Args:
        ablated: what a gate of 0 passes.
        spans: those of the graph, each with its rows among the positions of these prompts.
        steps: for each span and source, the factor of a receiver's gradient; None means its current
            minus its ablated output, which gives the gradient by the gates.

    Attributes:
        changes: for each span, the current minus the ablated output of each source there.
    """

    def __init__(
        self,
        weights: TransformerWeights,
        ablated: Float[Tensor, "src batch pos d_model"],
        gates: Float[Tensor, " edge"],
        spans: Sequence[SpanOfRows] = ((None, None),),
        steps: Sequence[Float[Tensor, "src numbers"]] | None = None,
    ) -> None:
        super().__init__(weights)
        self.ablated = ablated
        self.gates = gates
        self.spans = spans
        self.changes = self._split(torch.zeros_like(ablated))
        self.steps = self.changes if steps is None else steps
        self.bases = Bases(OutputsOfPrompts(ablated))
        self._inputs: dict[Receiver, Outputs] = {}
        self._begun: tuple[int, Float[Tensor, " numbers"]] | None = None

    def write(self, written: Outputs, sources: Sequence[int]) -> None:
        first, end = sources[0], sources[-1] + 1
        written = written - self.ablated[first:end]
        for changes, here in zip(self.changes, self._split(written), strict=True):
            changes[first:end] = here

    def read(self, receivers: Sequence[Receiver]) -> Outputs:
        """Read the sources before a layer once for its heads and its MLP together.

        A mixer between them reads alone, and so does an MLP after it.
        """
        n, layer = self.n_sources, receivers[0].node.layer
        every = list(receivers)
        if receivers[0].slot is not None and layer is not None and self._pairs(layer):
            every.append(Receiver(mlp(layer)))
        before, begun = self._begun or (0, None)
        in_spans = zip(self.spans, self.changes, strict=True)
        total = self._join(
            [
                self._gates_of(every, s, before, n) @ changes[before:n]
                for (s, _), changes in in_spans
            ]
        ).flatten(1)
        self._begun = None
        if begun is not None:
            total += begun
        elif len(every) > len(receivers):
            self._begun = n, total[-1]
            total = total[:-1]
        total += self.bases.at(n, self.constant).flatten()
        shaped = total.view(len(receivers), *self.ablated.shape[1:])
        self._inputs[receivers[0]] = shaped
        return shaped

    def backward(self, at_final: Stream) -> Float[Tensor, " edge"]:
        """The gradients by the gates, from the gradient by the result of `final`, run before."""
        by_gate = torch.zeros_like(self.gates)
        by_source = self._split(torch.zeros_like(self.ablated))

        def at_outputs(start: int, end: int) -> Outputs:
            return self._join([here[start:end] for here in by_source])

        def into(readers: Sequence[Receiver], gradient: Outputs, start: int, end: int) -> None:
            """Add the gradients by sources `start` to `end` and by the gates of their edges."""
            in_spans = zip(self.spans, self._split(gradient), self.steps, by_source, strict=True)
            for (span, _), flat, steps, sums in in_spans:
                by_edge = (steps[start:end] @ flat.T).T
                for reader, row in zip(readers, by_edge, strict=True):
                    at = self.topology.first_edge.get(replace(reader, span=span))
                    if at is not None:  # `logits` is read in the spans of answers alone
                        by_gate[at + start : at + end] = row
                sums[start:end].addmm_(self._gates_of(readers, span, start, end).T, flat)

        into([Receiver(LOGITS)], at_final[None], 0, len(self.topology.sources))
        for layer in reversed(range(len(self.weights.blocks))):
            block = self.weights.blocks[layer]
            at = self.topology.head_sources(layer)
            first, after = at.start, at.stop
            at_mixer, of_mlp = self.topology.mixer_source(layer), self.topology.mlp_sources(layer)
            readers = self.topology.receivers_of(self.topology.mlp_nodes(layer))
            through: list[Outputs] = []
            if readers:
                write = partial(run_mlp_nodes, block, some=range(len(of_mlp)))
                inputs = self._inputs.pop(readers[0])
                at_mlp = at_outputs(of_mlp.start, of_mlp.stop)
                through.append(backpropagate(write, inputs, at_mlp))
                if not self.weights.parallel:
                    into(readers, through[0], first, of_mlp.start)
            if at_mixer is not None:
                readers.append(Receiver(mixer(layer)))
                write = partial(run_mixer, block)
                inputs = self._inputs.pop(readers[-1])
                at_mixer_output = at_outputs(at_mixer, at_mixer + 1)
                through.append(backpropagate(write, inputs, at_mixer_output))
            of_heads = [
                Receiver(node, slot) for slot in SLOTS for node in self.topology.heads(layer)
            ]
            if of_heads:
                write = partial(self.run_heads, layer, range(len(at)))
                inputs = self._inputs.pop(of_heads[0])
                through.append(backpropagate(write, inputs, at_outputs(first, after)))
            into([*readers, *of_heads], torch.cat(through), 0, first)
        return by_gate

    def _pairs(self, layer: int) -> bool:
        """Whether the heads and the MLP of `layer` are read one right after the other."""
        return self.topology.parts(layer) == "am" and not self.topology.n_experts(layer)

    def _gates_of(
        self, receivers: Sequence[Receiver], span: str | None, start: int, end: int
    ) -> Float[Tensor, "n src"]:
        """The gates in `span` of the edges into `receivers` from the sources `start` to `end`."""
        firsts = (self.topology.first_edge.get(replace(r, span=span)) for r in receivers)
        closed = self.gates.new_zeros(end - start)  # `logits` outside the spans of answers
        return torch.stack(
            [closed if at is None else self.gates[at + start : at + end] for at in firsts]
        )

    def _split(self, x: Outputs) -> list[Float[Tensor, "n numbers"]]:
        """The rows of each span."""
        if self.spans[0][1] is None:
            return [x.flatten(1)]
        rows_of_all = x.flatten(1, 2)
        return [
            rows_of_all.index_select(1, rows).flatten(1)
            for _, rows in self.spans
            if rows is not None
        ]

    def _join(self, parts: Sequence[Float[Tensor, "n _"]]) -> Outputs:
        """Streams from the rows of each span; 0 at padding, which belongs to none."""
        n, shape = len(parts[0]), self.ablated.shape[1:]
        if self.spans[0][1] is None:
            return parts[0].view(n, *shape)
        out = parts[0].new_zeros(n, *shape)
        for (_, rows), part in zip(self.spans, parts, strict=True):
            if rows is not None:
                out.view(n, -1, shape[-1]).index_copy_(1, rows, part.view(n, -1, shape[-1]))
        return out


def _spans_of(bench: Bench, chosen: slice) -> list[SpanOfRows]:
    return rows_by_span(bench.layout, bench.weights.topology.spans, chosen)


def gradient_by_gates(
    bench: Bench,
    objective: LogprobObjective,
    forward: Callable[[slice], tuple[Stream, Backward]],
    at_once: int,
) -> Float[Tensor, " gate"]:
    """Run forward and backward; twice forward where prompts are split, for the whole objective.

    Args:
        forward: from some prompts to their final stream, and the way back.
        at_once: the number of prompts whose activations are held.
    """
    groups = [slice(i, i + at_once) for i in range(0, bench.layout.batch, at_once)]
    with torch.no_grad():
        if len(groups) == 1:
            whole, backward = forward(groups[0])
            return backward(final_gradient(objective, bench.layout, whole))
        whole = torch.cat([forward(group)[0] for group in groups])
        at_final = final_gradient(objective, bench.layout, whole)
        parts = (forward(group)[1](at_final[group]) for group in groups)
        return reduce(torch.add, parts, bench.ablated.new_zeros(()))


def prompts_that_fit(bench: Bench, memory: int) -> int:
    """How many prompts' activations fit into `memory` bytes; at least one.

    Counts the change, step and gradient of every source, the input of every receiver, and for one
    layer the gradients by its inputs, its queries, keys, values, patterns and hidden units, and
    what its experts read and write.
    """
    topology, pos = bench.weights.topology.collapsed, bench.layout.pos
    d_model, d_head = bench.weights.d_model, head_width(bench.weights)
    heads = topology.n_heads * (8 * d_model + 14 * d_head + 8 * pos)
    layer = heads + 8 * mlp_width(bench.weights)
    layer += 5 * expert_receivers(bench.weights) * d_model
    row = (3 * len(topology.sources) + len(topology.receivers)) * d_model + layer
    fit = memory // (pos * row * bench.ablated.element_size())
    return max(1, min(bench.layout.batch, fit, math.ceil(_ROWS / pos)))


def run_node_gates(
    weights: TransformerWeights,
    tokens: Int[Tensor, "batch pos"],
    ablated: Float[Tensor, "src batch pos d_model"],
    gates: Float[Tensor, "src ..."],
    write_mlp: Callable[[int, Stream], Outputs] | None = None,
) -> Stream:
    """Run the model with each source gated for all its readers. Returns the final stream.

    Args:
        gates: of each source, or of each source at each position of each prompt.
        write_mlp: from a layer and what its MLP reads to what its nodes write; None for the MLP
            of the model.
    """
    topology = weights.topology

    def gated(written: Outputs, first: int) -> Stream:
        rows = slice(first, first + len(written))
        held = gates[rows, ..., None] if gates.dim() > 1 else gates[rows, None, None, None]
        return (ablated[rows] + held * (written - ablated[rows])).sum(0)

    residual = gated(embed(weights, tokens)[None], 0)
    for layer, block in enumerate(weights.blocks):
        attended, at = residual, topology.head_sources(layer)
        at_mixer, of_mlp = topology.mixer_source(layer), topology.mlp_sources(layer)
        if block.attn is not None:
            allowed = visible_keys(block.attn, tokens.shape[1], tokens.device)
            slots = project_slots(block.attn, normalise(residual, block.norm_attn))
            written = attend(block, range(len(at)), slots, allowed)
            attended = residual + gated(written, at.start)
            if block.attn.b_o is not None:
                attended = attended + block.attn.b_o
        if at_mixer is not None:
            attended = attended + gated(run_mixer(block, residual)[None], at_mixer)
        if of_mlp:
            read = residual if weights.parallel else attended
            if write_mlp is None:
                written = run_mlp_nodes(block, read[None], range(len(of_mlp)))
            else:
                written = write_mlp(layer, read)
            attended = attended + gated(written, of_mlp.start)
        residual = attended
    return residual


def node_gate_gradient(
    bench: Bench,
    objective: LogprobObjective,
    gates: Float[Tensor, " output"],
    prompts_at_once: int,
) -> Float[Tensor, " output"]:
    """The gradient of the objective by the gate of each source, each between 0 and 1.

    In a graph with spans a source has a gate in each of them, first to last.
    """
    leaf = gates.detach().requires_grad_()
    index = bench.layout.span_index

    def forward(chosen: slice) -> tuple[Stream, Backward]:
        tokens, ablated = bench.prompts.clean[chosen], bench.ablated[:, chosen]
        with torch.enable_grad():
            held = leaf
            if index is not None:  # padding, of number -1, has the gates of any span
                held = leaf.view(len(ablated), -1)[:, index[chosen].clamp(min=0)]
            final = run_node_gates(bench.weights, tokens, ablated, held)
        return final.detach(), lambda gradient: torch.autograd.grad(final, leaf, gradient)[0]

    return gradient_by_gates(bench, objective, forward, prompts_at_once)
