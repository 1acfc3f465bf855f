"""Any circuits, by one forward over the nodes that their logits depend on.

Receiver input = Σ over present edges of the source's current output + Σ over removed edges of its
ablated output + constants. The second sum is kept as a running sum over *all* sources, so that a
receiver needs Σ over present edges of (current - ablated) on top of it: one matrix product with
the 0/1 mask of its layer. Nothing is done per edge.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from acdc_pipeline.engine.forward import embed
from acdc_pipeline.engine.receiver_forward import Bases, Outputs, ReceiverForward, Stream
from acdc_pipeline.graph import LOGITS, Edge, Receiver, head, mlp
from acdc_pipeline.models.weights import TransformerWeights

_BATCH_BYTES = 16 * 2**20
"""For what the circuits and prompts of one forward write. Larger blocks leave the cache, and are
mapped again by the operating system at each allocation: three times slower on small models."""

_SHARED_BYTES = 16 * 2**20
"""For streams that knockouts of the same prompts have in common."""

_DENSE = 8
"""Where more than one of this many edges is present, a matrix product sums them faster."""

_LEAST_ROWS = 256
"""Fewer rows than this make products with weights wait for memory."""


def run_circuit(
    weights: TransformerWeights,
    tokens: Int[Tensor, "batch pos"],
    ablated: Float[Tensor, "src batch pos d_model"],
    edges: Iterable[Edge],
) -> Stream:
    """The final residual stream when only `edges` carry their source's current output.

    Raises:
        GraphError: an edge does not exist in the model's graph.
    """
    mask = weights.topology.edge_mask(edges)
    return run_circuits(weights, tokens, ablated, mask[None])[0]


def run_circuits(
    weights: TransformerWeights,
    tokens: Int[Tensor, "batch pos"],
    ablated: Float[Tensor, "src batch pos d_model"],
    masks: Bool[np.ndarray, "circuit edge"],
) -> Float[Tensor, "circuit batch pos d_model"]:
    """The final residual streams of several circuits on the same prompts.

    Args:
        weights: the model.
        tokens: the clean prompts.
        ablated: what removed edges carry.
        masks: the edges of each circuit, in the order of the topology's `edges`.
    """
    out = ablated.new_empty(len(masks), *ablated.shape[1:])
    batch, pos = tokens.shape
    per_prompt = ablated[:, :1].nbytes
    prompts = min(batch, max(1, _BATCH_BYTES // per_prompt, math.ceil(_LEAST_ROWS / pos)))
    circuits = max(1, _BATCH_BYTES // (per_prompt * prompts))
    starts = range(0, len(masks), circuits)
    needed = [needed_sources(weights, np.any(masks[i : i + circuits], axis=0)) for i in starts]
    for j in range(0, batch, prompts):
        chosen = slice(j, j + prompts)
        bases, embedded = Bases(ablated[:, chosen]), embed(weights, tokens[chosen])
        shared: dict[bytes, Stream] = {}
        for i, sources in zip(starts, needed, strict=True):
            some = masks[i : i + circuits]
            nodes = _nodes_present(weights, some[0]) if len(some) == 1 else None
            if nodes is not None:
                run = _WithoutNodes(weights, bases.ablated, nodes, shared)
            else:
                run = _Circuits(weights, bases, some, sources)
            final = run.final(embedded.repeat(len(some), 1, 1))
            out[i : i + circuits, chosen] = final.unflatten(0, (len(some), -1))
    return out


def needed_sources(
    weights: TransformerWeights, present: Bool[np.ndarray, " edge"]
) -> Bool[np.ndarray, " src"]:
    """Which sources some present path leads on from to the logits.

    Where heads move one another, all heads of a layer are needed as soon as one of them is.
    """
    topology = weights.topology
    needed = np.zeros(len(topology.sources), dtype=bool)
    width = topology.n_heads + int(topology.has_mlp)

    def feed(receiver: Receiver) -> None:
        first, n = topology.first_edge[receiver], topology.n_sources_of(receiver)
        needed[:n] |= present[first : first + n]

    feed(Receiver(LOGITS))
    for layer in reversed(range(topology.n_layers)):
        heads = slice(1 + layer * width, 1 + layer * width + topology.n_heads)
        if topology.has_mlp and needed[heads.stop]:
            feed(Receiver(mlp(layer)))
        if weights.blocks[layer].coupled and needed[heads].any():
            needed[heads] = True
        for index in needed[heads].nonzero()[0].tolist():
            for slot in ("q", "k", "v"):
                feed(Receiver(head(layer, index), slot))
    return needed


class _Circuits(ReceiverForward):
    """Circuits side by side: the batch axis holds all prompts of the first, then of the next.

    Args:
        weights: the model.
        bases: what removed edges carry, for these prompts, and its running sums.
        masks: the edges of each circuit.
        needed: the sources that are computed; a source that is not carries its ablated output,
            and nothing that matters reads it.
    """

    def __init__(
        self,
        weights: TransformerWeights,
        bases: Bases,
        masks: Bool[np.ndarray, "circuit edge"],
        needed: Bool[np.ndarray, " src"],
    ) -> None:
        super().__init__(weights, needed)
        self.ablated, self.bases = bases.ablated, bases
        self.masks = masks
        self.needed = needed
        self.columns = needed.nonzero()[0]
        size = self.ablated[0].numel()
        self.n_changes = 0
        self.changes = self.ablated.new_empty(len(masks), len(self.columns), size)

    def write(self, written: Outputs, sources: Sequence[int]) -> None:
        for by_source, source in zip(written, sources, strict=True):
            if not self.needed[source]:
                continue
            new = by_source.unflatten(0, (len(self.masks), -1))
            change = self.changes[:, self.n_changes].view(-1, *self.ablated.shape[1:])
            torch.sub(new, self.ablated[source], out=change)
            self.n_changes += 1

    def read(self, receivers: Sequence[Receiver]) -> Outputs:
        stream = self.bases.at(self.n_sources, self.constant)
        k, circuits = self.n_changes, len(self.masks)
        first = [self.topology.first_edge[receiver] for receiver in receivers]
        mask = self.masks[:, np.add.outer(first, self.columns[:k])].swapaxes(0, 1)
        if bool((mask == mask[:1]).all()):
            mask = mask[:1]
        shape = len(mask), circuits * stream.shape[0], *stream.shape[1:]
        if not mask.any():
            return stream.repeat(circuits, 1, 1).expand(shape)
        if mask.sum() * _DENSE < mask.size:
            total = self._sum_of_few(mask)
            total += stream.flatten()
            return total.view(shape)
        present = torch.from_numpy(np.ascontiguousarray(mask.swapaxes(0, 1))).to(stream)
        base = stream.flatten().expand(circuits, len(mask), -1)
        total = torch.baddbmm(base, present, self.changes[:, :k])
        shaped = total.view(circuits, len(mask), *stream.shape)
        return shaped.transpose(0, 1).flatten(1, 2)

    def _sum_of_few(
        self, mask: Bool[np.ndarray, "receiver circuit change"]
    ) -> Float[Tensor, "row numbers"]:
        """The sum of the present changes of each receiver in each circuit, where few are."""
        rows = mask.reshape(-1, mask.shape[2])
        at = rows.nonzero()
        every = self.changes.flatten(0, 1)
        source = at[0] % mask.shape[1] * self.changes.shape[1] + at[1]
        starts = np.searchsorted(at[0], np.arange(len(rows)))
        indices = torch.from_numpy(source).to(every.device)
        offsets = torch.from_numpy(starts).to(every.device)
        return functional.embedding_bag(indices, every, offsets, mode="sum")


class _WithoutNodes(ReceiverForward):
    """The whole model without some nodes: all receivers of a place read one stream.

    Args:
        weights: the model.
        ablated: what the nodes that are gone write, for these prompts.
        present: the sources that are there.
        shared: streams before layers, by which of the sources so far are there; knockouts of the
            same prompts begin where the first node differs.
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
        if (len(self.shared) + 1) * self.stream.nbytes <= _SHARED_BYTES:
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
        """What the nodes that are gone carry, of the sources passed since the last call."""
        passed = slice(self.n_in_stream, self.n_sources)
        for source in (~self.present[passed]).nonzero()[0].tolist():
            self.stream += self.ablated[self.n_in_stream + source]
        self.n_in_stream = self.n_sources

    def _key(self, layer: int) -> bytes:
        return self.present[: 1 + layer * self.width].tobytes()


def _nodes_present(
    weights: TransformerWeights, mask: Bool[np.ndarray, " edge"]
) -> Bool[np.ndarray, " src"] | None:
    """The sources that are there in a circuit which has all edges of a source or none of them.

    None where it has a part of some source's edges.
    """
    topology = weights.topology
    at_logits = mask[topology.first_edge[Receiver(LOGITS)] :]
    return at_logits if bool((at_logits[topology.edge_sources] == mask).all()) else None
