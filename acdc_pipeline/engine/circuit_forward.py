"""Forward passes of arbitrary circuits, each over the nodes that its logits depend on.

Receiver input = Σ over present edges of the source's current output + Σ over removed edges of its
ablated output + constants. The ablated outputs of *all* sources are kept as running sums, to which
a receiver adds Σ over present edges of (current - ablated). Outputs that several circuits have in
common are computed once (`shared_outputs`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from acdc_pipeline.engine.answer_batches import OutputsOfPrompts, answer_batches
from acdc_pipeline.engine.components import Stream
from acdc_pipeline.engine.forward import embed
from acdc_pipeline.engine.layout import Layout, Needed
from acdc_pipeline.engine.node_removals import SharedLayers, WithoutNodes, nodes_present
from acdc_pipeline.engine.receiver_forward import Bases, Outputs, ReceiverForward, WhereNeeded
from acdc_pipeline.engine.shared_outputs import (
    SharedChanges,
    identify_outputs,
    needed_sources,
    room_for_changes,
    sum_rows,
)
from acdc_pipeline.engine.span_circuits import run_span_circuits
from acdc_pipeline.graph import Edge, Receiver
from acdc_pipeline.graph.neurons import NeuronMasks
from acdc_pipeline.models.weights import TransformerWeights

_BATCH_BYTES = 16 * 2**20
"""For the outputs of all sources on the prompts of one pass. Larger blocks leave the cache, and the
operating system maps them at each allocation: three times slower on small models."""

_SHARED_BYTES = 256 * 2**20
"""For outputs that circuits have in common, and again for what knockouts have in common."""

DENSE = 8
"""If more than one in this many edges is present, a matrix product sums them faster."""

_LEAST_ROWS = 256
"""With fewer rows, products with weights are bound by memory."""

_LEAST_WORK = 3e8
"""With fewer multiply-adds of a layer, padding costs less than one more pass over the layers."""


def run_circuit(
    weights: TransformerWeights,
    tokens: Int[Tensor, "batch pos"],
    ablated: Float[Tensor, "src batch pos d_model"],
    edges: Iterable[Edge],
    neurons: NeuronMasks | None = None,
) -> Stream:
    """Run a circuit: only `edges` carry their source's current output. Returns the final stream.

    Args:
        ablated: what removed edges carry.
        neurons: which dimensions of each source's output `edges` carry; the others are ablated on
            them too. None means all.

    Raises:
        GraphError: an edge does not exist in the model's graph.
    """
    mask = weights.topology.edge_mask(edges)
    return run_circuits(weights, tokens, ablated, mask[None], neurons)[0]


def run_circuits(
    weights: TransformerWeights,
    tokens: Int[Tensor, "batch pos"],
    ablated: Float[Tensor, "src batch pos d_model"],
    masks: Bool[np.ndarray, "circuit edge"],
    neurons: NeuronMasks | None = None,
) -> Float[Tensor, "circuit batch pos d_model"]:
    """Run several circuits on the same prompts. Returns their final residual streams.

    Args:
        ablated: what removed edges carry.
        masks: the edges of each circuit, in the order of the topology's `edges`.
        neurons: for all circuits, as in `run_circuit`.
    """
    weights = weights.without_one_span
    out = ablated.new_empty(len(masks), *ablated.shape[1:])
    at_once = _prompts_at_once(tokens, ablated)
    rows = min(at_once, len(tokens)) * tokens.shape[1]
    circuits = _Circuits(weights, masks, rows, neurons)
    for first in range(0, len(tokens), at_once):
        some = slice(first, first + at_once)
        for circuit, final in circuits.finals(tokens[some], OutputsOfPrompts(ablated, some)):
            out[circuit, some] = final
    return out


def run_circuits_to_answers(
    weights: TransformerWeights,
    tokens: Int[Tensor, "batch pos"],
    ablated: Float[Tensor, "src batch pos d_model"],
    masks: Bool[np.ndarray, "circuit edge"],
    layout: Layout,
    advance: Callable[[float], None] = lambda _: None,
) -> Float[Tensor, "circuit answer d_model"]:
    """Like `run_circuits`, but returns the streams at the answers of `layout` only.

    `advance` is called with the fraction completed, 0 to 1.
    """
    weights = weights.without_one_span
    out = ablated.new_empty(len(masks), len(layout.answer_row), ablated.shape[-1])
    if weights.spans is not None:
        return _span_circuits_to_answers(weights, tokens, ablated, masks, layout, advance)
    some = np.flatnonzero(masks.any(axis=1))
    done, total = (len(masks) - len(some)) * layout.batch, len(masks) * layout.batch
    if done:
        out[:] = _all_ablated(weights, ablated, layout)
        advance(done / total)
    batches = answer_batches(
        layout,
        most_prompts=_prompts_at_once(tokens, ablated),
        least_rows=max(_LEAST_ROWS, math.ceil(_LEAST_WORK / _weights_of_layer(weights))),
        one_sided=not weights.bidirectional,
    )
    if not len(some):
        return out
    most_rows = max(len(batch.prompts) * batch.layout.pos for batch in batches)
    circuits = _Circuits(weights, masks[some], most_rows)
    for batch in batches:
        inputs = batch.tokens_of(tokens), batch.outputs_of(ablated)
        for circuit, final in circuits.finals(*inputs, batch.layout):
            out[some[circuit], batch.answers] = final[:, 0]
            done += len(batch.prompts)
            advance(done / total)
    return out


def _span_circuits_to_answers(
    weights: TransformerWeights,
    tokens: Int[Tensor, "batch pos"],
    ablated: Float[Tensor, "src batch pos d_model"],
    masks: Bool[np.ndarray, "circuit edge"],
    layout: Layout,
    advance: Callable[[float], None],
) -> Float[Tensor, "circuit answer d_model"]:
    """`run_circuits_to_answers` of a graph with spans."""
    out = ablated.new_empty(len(masks), len(layout.answer_row), ablated.shape[-1])
    outputs, embedded = OutputsOfPrompts(ablated), embed(weights, tokens)
    for number, mask in enumerate(masks):
        (final,) = run_span_circuits(weights, embedded, outputs, mask[None], layout)
        out[number] = layout.at_answers(final.flatten(0, 1))
        advance((number + 1) / len(masks))
    return out


def _weights_of_layer(weights: TransformerWeights) -> float:
    """The multiply-adds of one position in a layer, the mean of all; without q·k and its values."""
    parts = [part for block in weights.shapes for part in (block.mixer, block.mlp) if part]
    matrices = [(*attn.matrices.values(), attn.w_o) for attn in weights.attentions]
    heads = sum(matrix.numel() for of_layer in matrices for matrix in of_layer)
    return (heads + sum(part.n_weights for part in parts)) / len(weights.blocks)


def _all_ablated(
    weights: TransformerWeights, ablated: Float[Tensor, "src batch pos d_model"], layout: Layout
) -> Float[Tensor, "answer d_model"]:
    """The final streams at the answers when every removed edge carries its ablated output."""
    at = zip(layout.answer_row.tolist(), layout.answer_pos.tolist(), strict=True)
    total = torch.stack([ablated[:, row, pos].sum(0) for row, pos in at])
    for attn in weights.attentions:
        if attn.b_o is not None:
            total += attn.b_o
    return total


def _prompts_at_once(
    tokens: Int[Tensor, "batch pos"], ablated: Float[Tensor, "src batch pos d_model"]
) -> int:
    return max(1, _BATCH_BYTES // ablated[:, :1].nbytes, math.ceil(_LEAST_ROWS / tokens.shape[1]))


class _Circuits:
    """Circuits that run together, on some prompts after others.

    Args:
        masks: the edges of each circuit.
        rows: the most prompts times positions that are run at once.
        neurons: for all circuits, as in `run_circuit`.
    """

    def __init__(
        self,
        weights: TransformerWeights,
        masks: Bool[np.ndarray, "circuit edge"],
        rows: int,
        neurons: NeuronMasks | None = None,
    ) -> None:
        self.weights, self.masks, self.neurons = weights, masks, neurons
        topology = weights.topology
        self.nodes = [None if neurons is not None else nodes_present(topology, m) for m in masks]
        others = [mask for mask, there in zip(masks, self.nodes, strict=True) if there is None]
        self.ids = identify_outputs(weights, others)
        self.most_numbers = rows * weights.d_model
        self.room: Float[Tensor, " numbers"] | None = None

    def finals(
        self,
        tokens: Int[Tensor, "batch pos"],
        ablated: OutputsOfPrompts,
        answers: Layout | None = None,
    ) -> Iterator[tuple[int, WhereNeeded]]:
        """Yield the final stream of each circuit on these prompts, or that at their answers.

        Args:
            answers: of these prompts; the streams are then those of `Layout.at_each_answer`.
        """
        bases, embedded = Bases(ablated), embed(self.weights, tokens)
        if answers is not None and len(answers.answer_row) > embedded.shape[:2].numel():
            # `SharedChanges` has no room for more answers than rows.
            for circuit, final in self.finals(tokens, ablated):
                yield circuit, answers.at_each_answer(final)
            return
        shared = SharedChanges(self._rows(embedded), self.ids)
        topology = self.weights.topology
        firsts = [topology.first_source(layer) for layer in range(topology.n_layers)]
        knockouts = [there for there in self.nodes if there is not None]
        layers = SharedLayers(knockouts, firsts, _SHARED_BYTES)
        number = 0
        for circuit, (mask, there) in enumerate(zip(self.masks, self.nodes, strict=True)):
            if there is not None:
                run = WithoutNodes(self.weights, ablated, there, layers)
            else:
                run = _Circuit(self.weights, bases, mask, shared, number, self.neurons)
                number += 1
            run.answers = answers
            yield circuit, run.final(embedded)

    def _rows(self, like: Stream) -> Float[Tensor, "row numbers"]:
        """Room for changes, allocated once: the first use of new memory costs as much as a sum."""
        n = room_for_changes(self.ids, like.nbytes, _SHARED_BYTES)
        if self.room is None:
            widest = self.most_numbers * like.element_size()
            most = room_for_changes(self.ids, widest, _SHARED_BYTES) * self.most_numbers
            self.room = like.new_empty(max(most, n * like.numel()))
        elif len(self.room) < n * like.numel():
            self.room = like.new_empty(n * like.numel())
        return self.room[: n * like.numel()].view(n, -1)


class _Circuit(ReceiverForward):
    """A pass over the nodes of one circuit that earlier circuits have not computed.

    Args:
        bases: what removed edges carry, for these prompts, and its running sums.
        mask: the edges of the circuit.
        shared: current minus ablated outputs of sources, in all circuits.
        number: index of the circuit in `shared`.
        neurons: which dimensions of the sources' outputs edges carry; None for all.
    """

    def __init__(
        self,
        weights: TransformerWeights,
        bases: Bases,
        mask: Bool[np.ndarray, " edge"],
        shared: SharedChanges,
        number: int,
        neurons: NeuronMasks | None,
    ) -> None:
        self.row = shared.held(number)
        needed = needed_sources(weights, mask, known=self.row >= 0)
        unknown = needed & (self.row < 0)
        new = unknown.nonzero()[0]
        ids = shared.ids[number, new].tolist()
        rows = shared.make_room(number, len(new))
        super().__init__(weights, unknown)
        self.row[new] = rows
        shared.row_of.update(zip(ids, rows, strict=True))
        self.ablated, self.bases = bases.ablated, bases
        self.mask = mask
        self.changes = shared.rows
        self.centred = neurons is not None and neurons.basis == "centred"
        self.kept = None if neurons is None else torch.from_numpy(neurons.kept).to(shared.rows)
        self.new = set(new.tolist())

    def write(self, written: Outputs, sources: Sequence[int]) -> None:
        for output, source in zip(written, sources, strict=True):
            if source in self.new:
                change = self.changes[self.row[source], : output.numel()].view_as(output)
                if self.n_everywhere is None:
                    self.ablated.of(source, out=change)
                else:
                    change.copy_(self.where_needed(self.ablated.of(source)))
                torch.sub(output, change, out=change)
                if self.centred:
                    change -= change.mean(-1, keepdim=True)
                if self.kept is not None:
                    change *= self.kept[source]

    def read(self, receivers: Sequence[Receiver]) -> Outputs:
        base = self.where_needed(self.bases.at(self.n_sources, self.constant))
        first = [self.topology.first_edge[receiver] for receiver in receivers]
        mask = self.mask[np.add.outer(first, np.arange(self.n_sources))]
        if bool((mask == mask[:1]).all()):
            mask = mask[:1]
        if not mask.any():
            return base[None]
        if self.n_everywhere is None and mask.sum() * DENSE < mask.size:
            # The last term of each sum is the base.
            self.changes[-1] = base.flatten()
            of_base = np.full((len(mask), 1), len(self.changes) - 1)
            terms = np.hstack([np.where(mask, self.row[: self.n_sources], -1), of_base])
            receiver, at = (terms >= 0).nonzero()
            positions = base.shape[:2].numel()
            total = sum_rows(self.changes, terms[receiver, at], receiver, len(mask), positions)
        else:
            sources = np.flatnonzero(mask.any(0))
            present = torch.from_numpy(mask[:, sources]).to(base)
            changes = self._changes_of(sources)
            total = torch.addmm(base.flatten().expand(len(mask), -1), present, changes)
        return total.view(len(mask), *base.shape)

    def _changes_of(self, sources: Int[np.ndarray, " some"]) -> Float[Tensor, "some numbers"]:
        """The changes of some sources, at the answers once nothing else is needed."""
        at = self.row[sources]
        if self.n_everywhere is not None:
            assert self.answers is not None
            # The changes of later sources are at the answers, in the first columns of their rows.
            answers = self.answers.answer_index.numpy(force=True)
            everywhere = (sources < self.n_everywhere)[:, None]
            n_rows, d_model = self.answers.n_rows(Needed.EVERY), self.ablated.outputs.shape[-1]
            rows = at[:, None] * n_rows + np.where(everywhere, answers, np.arange(len(answers)))
            table = self.changes.view(-1, d_model)
            chosen = torch.from_numpy(rows.ravel()).to(table.device)
            return table.index_select(0, chosen).view(len(sources), -1)
        if bool((np.diff(at) == 1).all()):  # without a copy
            return self.changes[int(at[0]) : int(at[-1]) + 1]
        return self.changes[torch.from_numpy(at).to(self.changes.device)]
