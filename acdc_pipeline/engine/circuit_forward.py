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

from acdc_pipeline.engine.forward import embed
from acdc_pipeline.engine.receiver_forward import Bases, Outputs, ReceiverForward, Stream
from acdc_pipeline.graph import LOGITS, Edge, Receiver, head, mlp
from acdc_pipeline.models.weights import TransformerWeights

_BATCH_BYTES = 16 * 2**20
"""For what the circuits and prompts of one forward write. Larger blocks leave the cache, and are
mapped anew by the operating system at each allocation: three times slower on small models."""

_LEAST_ROWS = 96
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
        for i, sources in zip(starts, needed, strict=True):
            some = masks[i : i + circuits]
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
        super().__init__(weights)
        self.ablated, self.bases = bases.ablated, bases
        self.masks = masks
        self.needed = needed
        self.columns = needed.nonzero()[0]
        size = self.ablated[0].numel()
        self.n_changes = 0
        # Of circuits that lack whole nodes alone, all receivers read one stream: it is kept as a
        # running sum, in place of the changes.
        self.by_source = _present_sources(weights, masks)
        if self.by_source is not None:
            self.stream = torch.zeros_like(self.ablated[0]).repeat(len(masks), 1, 1, 1)
        else:
            self.changes = self.ablated.new_empty(len(masks), len(self.columns), size)

    def heads(self, layer: int) -> Sequence[int]:
        first = self.n_sources
        return self.needed[first : first + self.topology.n_heads].nonzero()[0].tolist()

    def has_mlp(self, layer: int) -> bool:
        width = self.topology.n_heads + 1
        return self.topology.has_mlp and bool(self.needed[(layer + 1) * width])

    def write(self, written: Outputs, sources: Sequence[int]) -> None:
        for by_source, source in zip(written, sources, strict=True):
            if not self.needed[source]:
                continue
            new = by_source.unflatten(0, (len(self.masks), -1))
            if self.by_source is not None:
                present = self.by_source[:, source, None, None, None]
                self.stream.addcmul_(present, new - self.ablated[source])
                continue
            change = self.changes[:, self.n_changes].view(-1, *self.ablated.shape[1:])
            torch.sub(new, self.ablated[source], out=change)
            self.n_changes += 1

    def read(self, receivers: Sequence[Receiver]) -> Outputs:
        stream = self.bases.at(self.n_sources, self.constant)
        if self.by_source is not None:
            return (self.stream + stream).flatten(0, 1)[None]
        k, circuits = self.n_changes, len(self.masks)
        first = [self.topology.first_edge[receiver] for receiver in receivers]
        mask = self.masks[:, np.add.outer(first, self.columns[:k])]
        if bool((mask == mask[:, :1]).all()):
            mask = mask[:, :1]
        rows = mask.shape[1]
        present = torch.from_numpy(mask).to(stream)
        base = stream.flatten().expand(circuits, rows, -1)
        total = torch.baddbmm(base, present, self.changes[:, :k]) if mask.any() else base
        shaped = total.view(circuits, rows, *stream.shape)
        return shaped.transpose(0, 1).flatten(1, 2)


def _present_sources(
    weights: TransformerWeights, masks: Bool[np.ndarray, "circuit edge"]
) -> Float[Tensor, "circuit src"] | None:
    """For each circuit, 1 for a source all of whose edges are there and 0 for one without any.

    None where some source has a part of its edges.
    """
    topology = weights.topology
    at_logits = masks[:, topology.first_edge[Receiver(LOGITS)] :]
    if not bool((at_logits[:, topology.edge_sources] == masks).all()):
        return None
    return torch.from_numpy(at_logits).to(weights.w_e.device, weights.dtype)
