"""Where a token comes among all logits when a head looks at another: ranks from the weights.

Only a few rows of the vocabulary x vocabulary matrix E' W_OV W_U are formed, and those in pieces.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.heads.batches import MOST_ROWS, MOST_TOKENS, chunks
from acdc_pipeline.heads.folded import (
    effective_embedding,
    folded_layer,
    folded_unembedding,
)
from acdc_pipeline.models.weights import TransformerWeights


@dataclass(frozen=True)
class TokenRanks:
    """For each layer, head and pair: how many tokens have a logit at least, or at most, as high.

    The target itself is not counted, so 0 is the first place. Tokens with the same logit all
    count: a head that writes nothing puts no token first.
    """

    from_top: Int[Tensor, "layer head pair"]
    from_bottom: Int[Tensor, "layer head pair"]


def token_ranks(
    weights: TransformerWeights,
    sources: Int[Tensor, " pair"],
    targets: Int[Tensor, " pair"],
    memory: int,
) -> TokenRanks:
    """Ranks of `targets` among all logits of E'[sources] W_OV W_U, in every head."""
    n_heads, itemsize = weights.topology.n_heads, weights.dtype.itemsize
    # each pair's value, and its target's column, in every head: half of the memory, or one pair
    d_head = weights.blocks[0].attn.w_o.shape[1]
    pair = itemsize * (2 * n_heads * d_head + 2 * weights.d_model)
    pairs = chunks(len(sources), min(MOST_ROWS, memory // (2 * pair)))
    top, bottom = [], []
    for part in pairs:
        layers = [
            _ranks(weights, layer, sources[part], targets[part], memory // 2)
            for layer in range(len(weights.blocks))
        ]
        top.append(torch.stack([above for above, _ in layers]))
        bottom.append(torch.stack([below for _, below in layers]))
    return TokenRanks(torch.cat(top, dim=-1), torch.cat(bottom, dim=-1))


def _ranks(
    weights: TransformerWeights,
    layer: int,
    sources: Int[Tensor, " pair"],
    targets: Int[Tensor, " pair"],
    memory: int,
) -> tuple[Int[Tensor, "head pair"], Int[Tensor, "head pair"]]:
    """How many tokens are at least as high as the target, and how many at most."""
    folded = folded_layer(weights, layer)
    carried = effective_embedding(weights, sources, layer) @ folded.w_v
    read = folded.w_o @ folded_unembedding(weights, targets)
    own = torch.einsum("hpe,hep->hp", carried, read)
    above = torch.zeros_like(own, dtype=torch.int64)
    below = torch.zeros_like(above)
    # a column's logits and two masks of them, and the column itself as all heads see it
    column = own.numel() * (own.element_size() + 2) + folded.w_o.nbytes // folded.w_o.shape[2]
    column += weights.d_model * own.element_size()
    for part in chunks(weights.w_u.shape[1], min(MOST_TOKENS, memory // column)):
        logits = carried @ (folded.w_o @ folded_unembedding(weights, part))
        inside = ((targets >= part.start) & (targets < part.stop)).nonzero().flatten()
        # its own column counts neither way, however it was rounded
        logits[:, inside, targets[inside] - part.start] = torch.nan
        above += (logits >= own[..., None]).sum(-1, dtype=torch.int32)
        below += (logits <= own[..., None]).sum(-1, dtype=torch.int32)
    return above.cpu(), below.cpu()


def token_logits(
    weights: TransformerWeights,
    layer: int,
    sources: Int[Tensor, " source"],
    targets: Int[Tensor, " target"],
) -> Float[Tensor, "head source target"]:
    """The block of E' W_OV W_U between some tokens, in the heads of one layer."""
    folded = folded_layer(weights, layer)
    carried = effective_embedding(weights, sources, layer) @ folded.w_v
    return carried @ (folded.w_o @ folded_unembedding(weights, targets))
