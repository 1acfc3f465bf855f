"""Any circuit, by one forward over the whole graph: simple, general, and not the hot path."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float, Int
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
from acdc_pipeline.engine.forward import embed, mlp_written, visible_keys
from acdc_pipeline.graph import LOGITS, Edge, Receiver, Slot, head, mlp
from acdc_pipeline.models.weights import Attention, TransformerWeights

Carried = Callable[[Receiver, Tensor], Tensor]
"""From a receiver and what its sources have written, [src batch pos d_model], to what its edges
carry in sum, [batch pos d_model]."""


def run_circuit(
    weights: TransformerWeights,
    tokens: Int[Tensor, "batch pos"],
    ablated: Float[Tensor, "src batch pos d_model"],
    edges: Iterable[Edge],
) -> Float[Tensor, "batch pos d_model"]:
    """The final residual stream when only `edges` carry their source's current output.

    Every other edge carries `ablated`. Receiver input = sum over present edges of the source's
    current output + sum over removed edges of its ablated output + constants.
    """
    kept = frozenset(edges)

    def carried(
        receiver: Receiver, written: Float[Tensor, "src batch pos d_model"]
    ) -> Float[Tensor, "batch pos d_model"]:
        sources = weights.topology.sources_of(receiver)
        present = torch.tensor(
            [Edge.into(source, receiver) in kept for source in sources], device=written.device
        )
        return written[present].sum(0) + ablated[: len(sources)][~present].sum(0)

    return run_carrying(weights, tokens, carried)


def run_carrying(
    weights: TransformerWeights, tokens: Int[Tensor, "batch pos"], carried: Carried
) -> Float[Tensor, "batch pos d_model"]:
    """The final residual stream when every receiver reads what `carried` says, and constants.

    Receivers of one layer's `q` are asked for first, then `k`, then `v`, then its MLP.
    """
    return _CircuitRun(weights, tokens, carried).final()


class _CircuitRun:
    """The forward's growing state: what every source has written so far."""

    def __init__(
        self,
        weights: TransformerWeights,
        tokens: Int[Tensor, "batch pos"],
        carried: Carried,
    ) -> None:
        self.weights = weights
        self.topology = weights.topology
        self.carried = carried
        self.positions = torch.arange(tokens.shape[1], device=tokens.device)
        embedded = embed(weights, tokens)
        self.written = embedded.new_empty((len(self.topology.sources), *embedded.shape))
        self.written[0] = embedded
        self.constant = torch.zeros_like(self.written[0])

    def final(self) -> Float[Tensor, "batch pos d_model"]:
        n_written = 1
        for layer, block in enumerate(self.weights.blocks):
            bias = block.attn.b_o
            heads = self.heads(layer, block.attn)
            if block.post_attn is not None:
                heads = shares(heads, heads.sum(0), block.post_attn)
            if bias is not None and not self.weights.parallel:
                self.constant = self.constant + bias
            self.written[n_written : n_written + len(heads)] = heads
            n_written += len(heads)
            if block.mlp is not None:
                x = self.received(Receiver(mlp(layer)))
                self.written[n_written] = mlp_written(block, x)
                n_written += 1
            if bias is not None and self.weights.parallel:
                self.constant = self.constant + bias
        return self.received(Receiver(LOGITS))

    def heads(self, layer: int, attn: Attention) -> Float[Tensor, "head batch pos d_model"]:
        q = self.projected(layer, "q", attn.w_q, attn.b_q)
        k = self.projected(layer, "k", *_ungrouped(attn, attn.w_k, attn.b_k))
        v = self.projected(layer, "v", *_ungrouped(attn, attn.w_v, attn.b_v))
        every = range(self.topology.n_heads)
        if attn.q_norm is not None:
            q = normalise_heads(q, attn.q_norm, every)
        if attn.k_norm is not None:
            k = normalise_heads(k, attn.k_norm, [h // attn.heads_per_kv for h in every])
        if attn.rotary is not None:
            q = rotate(q, attn.rotary, self.positions)
            k = rotate(k, attn.rotary, self.positions)
        allowed = visible_keys(attn, len(self.positions), self.positions.device)
        z = attention_pattern(q, k, attn, allowed) @ v
        return torch.matmul(z, widened(attn.w_o, z)[:, None])

    def projected(
        self,
        layer: int,
        slot: Slot,
        weight: Float[Tensor, "head d_model d_head"],
        bias: Float[Tensor, "head d_head"] | None,
    ) -> Float[Tensor, "head batch pos d_head"]:
        nodes = [head(layer, index) for index in range(self.topology.n_heads)]
        inputs = torch.stack([self.received(Receiver(node, slot)) for node in nodes])
        rows = normalise(inputs, self.weights.blocks[layer].norm_attn).flatten(1, 2)
        return project(rows, weight, bias).unflatten(1, inputs.shape[1:3])

    def received(self, receiver: Receiver) -> Float[Tensor, "batch pos d_model"]:
        written = self.written[: self.topology.n_sources_of(receiver)]
        return self.carried(receiver, written) + self.constant


def _ungrouped(
    attn: Attention,
    weight: Float[Tensor, "kv_head d_model d_head"],
    bias: Float[Tensor, "kv_head d_head"] | None,
) -> tuple[Float[Tensor, "head d_model d_head"], Float[Tensor, "head d_head"] | None]:
    if attn.heads_per_kv == 1:
        return weight, bias
    repeated = weight.repeat_interleave(attn.heads_per_kv, dim=0)
    return repeated, None if bias is None else bias.repeat_interleave(attn.heads_per_kv, dim=0)
