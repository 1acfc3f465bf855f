"""Forward passes of arbitrary circuits, each over the nodes that its logits depend on.

Receiver input = Σ over present edges of the source's current output + Σ over removed edges of its
ablated output + constants. The ablated outputs of *all* sources are kept as running sums, to which
a receiver adds Σ over present edges of (current - ablated). Outputs that several circuits have in
common are computed once (`shared_outputs`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from acdc_pipeline.engine.components import Stream
from acdc_pipeline.engine.forward import embed
from acdc_pipeline.engine.layout import Layout
from acdc_pipeline.engine.receiver_forward import Bases, Outputs, ReceiverForward
from acdc_pipeline.engine.shared_outputs import (
    SharedChanges,
    identify_outputs,
    needed_sources,
    sum_rows,
)
from acdc_pipeline.graph import LOGITS, Edge, Receiver
from acdc_pipeline.graph.neurons import NeuronMasks
from acdc_pipeline.models.weights import TransformerWeights

_BATCH_BYTES = 16 * 2**20
"""For the outputs of all sources on the prompts of one pass. Larger blocks leave the cache, and the
operating system maps them at each allocation: three times slower on small models."""

_SHARED_BYTES = 256 * 2**20
"""For outputs that circuits have in common."""

_STREAM_BYTES = 16 * 2**20
"""For streams that knockouts have in common."""

_DENSE = 8
"""If more than one in this many edges is present, a matrix product sums them faster."""

_LEAST_ROWS = 256
"""With fewer rows, products with weights are bound by memory."""


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
    out = ablated.new_empty(len(masks), *ablated.shape[1:])

    def keep(circuit: int, chosen: slice, final: Stream) -> None:
        out[circuit, chosen] = final

    _run(weights, tokens, ablated, masks, keep, neurons)
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
    out = ablated.new_empty(len(masks), len(layout.answer_row), ablated.shape[-1])
    some = np.flatnonzero(masks.any(axis=1))
    done, total = (len(masks) - len(some)) * layout.batch, len(masks) * layout.batch
    if done:  # all removed edges carry the ablated outputs
        total_ablated = ablated[:, layout.answer_row, layout.answer_pos].sum(0)
        for block in weights.blocks:
            if block.attn.b_o is not None:
                total_ablated += block.attn.b_o
        out[:] = total_ablated
        advance(done / total)

    def keep(number: int, chosen: slice, final: Stream) -> None:
        nonlocal done
        row = layout.answer_row - chosen.start
        here = (row >= 0) & (row < len(final))
        out[some[number], here] = final[row[here], layout.answer_pos[here]]
        done += len(final)
        advance(done / total)

    _run(weights, tokens, ablated, masks[some], keep)
    return out


def _run(
    weights: TransformerWeights,
    tokens: Int[Tensor, "batch pos"],
    ablated: Float[Tensor, "src batch pos d_model"],
    masks: Bool[np.ndarray, "circuit edge"],
    keep: Callable[[int, slice, Stream], None],
    neurons: NeuronMasks | None = None,
) -> None:
    """Pass the final stream of each circuit to `keep`, for a part of the prompts at a time."""
    batch, pos = tokens.shape
    prompts = max(1, _BATCH_BYTES // ablated[:, :1].nbytes, math.ceil(_LEAST_ROWS / pos))
    nodes = [None if neurons is not None else _nodes_present(weights, mask) for mask in masks]
    others = [mask for mask, there in zip(masks, nodes, strict=True) if there is None]
    ids = identify_outputs(weights, others)
    for j in range(0, batch, prompts):
        chosen = slice(j, min(batch, j + prompts))
        bases, embedded = Bases(ablated[:, chosen]), embed(weights, tokens[chosen])
        shared = SharedChanges(ablated, ids, embedded.numel(), _SHARED_BYTES)
        streams: dict[bytes, Stream] = {}
        number = 0
        for circuit, (mask, there) in enumerate(zip(masks, nodes, strict=True)):
            if there is not None:
                run = _WithoutNodes(weights, bases.ablated, there, streams)
            else:
                run = _Circuit(weights, bases, mask, shared, number, neurons)
                number += 1
            keep(circuit, chosen, run.final(embedded))


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
        self.kept = None if neurons is None else torch.from_numpy(neurons.kept).to(bases.ablated)
        self.new = set(new.tolist())

    def write(self, written: Outputs, sources: Sequence[int]) -> None:
        for output, source in zip(written, sources, strict=True):
            if source in self.new:
                change = self.changes[self.row[source]].view_as(output)
                torch.sub(output, self.ablated[source], out=change)
                if self.centred:
                    change -= change.mean(-1, keepdim=True)
                if self.kept is not None:
                    change *= self.kept[source]

    def read(self, receivers: Sequence[Receiver]) -> Outputs:
        base = self.bases.at(self.n_sources, self.constant)
        first = [self.topology.first_edge[receiver] for receiver in receivers]
        mask = self.mask[np.add.outer(first, np.arange(self.n_sources))]
        if bool((mask == mask[:1]).all()):
            mask = mask[:1]
        if not mask.any():
            return base[None]
        if mask.sum() * _DENSE < mask.size:
            receiver, source = mask.nonzero()
            total = sum_rows(self.changes, self.row[source], receiver, len(mask))
            total += base.flatten()
        else:
            sources = np.flatnonzero(mask.any(0))
            present = torch.from_numpy(mask[:, sources]).to(base)
            at = self.row[sources]
            if bool((np.diff(at) == 1).all()):  # without a copy
                changes = self.changes[int(at[0]) : int(at[-1]) + 1]
            else:
                changes = self.changes[torch.from_numpy(at).to(base.device)]
            total = torch.addmm(base.flatten().expand(len(mask), -1), present, changes)
        return total.view(len(mask), *base.shape)


class _WithoutNodes(ReceiverForward):
    """The whole model without some nodes: all receivers of a layer read one stream.

    Args:
        ablated: what the missing nodes write, for these prompts.
        present: the sources that are not missing.
        shared: streams before layers, by the sources present so far; a knockout starts from the
            layer of the first node in which it differs.
    """

    def __init__(
        self,
        weights: TransformerWeights,
        ablated: Float[Tensor, "src batch pos d_model"],
        present: Bool[np.ndarray, " src"],
        shared: dict[bytes, Stream],
    ) -> None:
        super().__init__(weights, present)
        self.ablated = ablated
        self.present = present
        self.shared = shared
        self.stream = torch.zeros_like(ablated[0])
        self.n_in_stream = 0

    def final(self, embedded: Stream) -> Stream:
        for layer in reversed(range(1, self.topology.n_layers)):
            stream = self.shared.get(self._key(layer))
            if stream is not None:
                self.stream = stream.clone()
                self.n_sources = self.n_in_stream = 1 + layer * self.width
                for block in self.weights.blocks[:layer]:
                    self._add_constant(block.attn.b_o)
                return self.run_layers(layer)
        return super().final(embedded)

    def enter(self, layer: int) -> None:
        self._add_ablated()
        if (len(self.shared) + 1) * self.stream.nbytes <= _STREAM_BYTES:
            self.shared.setdefault(self._key(layer), self.stream.clone())

    def write(self, written: Outputs, sources: Sequence[int]) -> None:
        there = [i for i, source in enumerate(sources) if self.present[source]]
        if there:
            self.stream += (written if len(there) == len(written) else written[there]).sum(0)

    def read(self, receivers: Sequence[Receiver]) -> Outputs:
        self._add_ablated()
        total = self.stream if self.constant is None else self.stream + self.constant
        return total[None]

    def _add_ablated(self) -> None:
        """Add the outputs of missing nodes among the sources passed since the last call."""
        passed = slice(self.n_in_stream, self.n_sources)
        for source in (~self.present[passed]).nonzero()[0].tolist():
            self.stream += self.ablated[self.n_in_stream + source]
        self.n_in_stream = self.n_sources

    def _key(self, layer: int) -> bytes:
        return self.present[: 1 + layer * self.width].tobytes()


def _nodes_present(
    weights: TransformerWeights, mask: Bool[np.ndarray, " edge"]
) -> Bool[np.ndarray, " src"] | None:
    """The sources present in a circuit that has all edges of each source or none of them.

    None if it has only some of a source's edges.
    """
    topology = weights.topology
    at_logits = mask[topology.first_edge[Receiver(LOGITS)] :]
    return at_logits if bool((at_logits[topology.edge_sources] == mask).all()) else None
