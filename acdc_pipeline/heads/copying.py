"""Scores of OV circuits from tokens to tokens: eigenvalues, and ranks of target tokens.

Only small matrices, or a few rows of the vocabulary x vocabulary matrix E' W_OV W_U, are formed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from acdc_pipeline.engine.forward import mlp_width
from acdc_pipeline.heads.batches import MOST_ROWS, MOST_TOKENS, chunks
from acdc_pipeline.heads.folded import (
    available_values,
    effective_embedding,
    folded_layer,
    folded_mean_unembedding,
    folded_unembedding,
    into_unembedding,
)
from acdc_pipeline.heads.values import HeadValues, on_every_layer
from acdc_pipeline.models.weights import TransformerWeights
from acdc_pipeline.specs.head_scores import TOP

# Below this share of the matrix's norm, eigenvalues are rounded zeros.
_ROUNDING = 1e-6


def copying_values(
    weights: TransformerWeights, sample: Int[Tensor, " token"], memory: int
) -> list[HeadValues]:
    """Every score of the family that needs no task; `sample` are the tokens to rank."""
    names = ("copy_at_5", "suppress_at_5")
    return [
        HeadValues("ov_copying", ov_copying(weights, memory)),
        *top_and_bottom_values(weights, sample, names, memory),
    ]


def top_and_bottom_values(
    weights: TransformerWeights,
    tokens: Int[Tensor, " token"],
    names: tuple[str, str],
    memory: int,
    task: str | None = None,
) -> list[HeadValues]:
    """The share of `tokens` that each head puts among its highest, and its lowest, logits."""
    ranks = rank_tokens(weights, tokens, tokens, memory, most=TOP)
    return [
        HeadValues.of_samples(name, available_values(weights, are_top(weights, rank), "ov"), task)
        for name, rank in zip(names, (ranks.from_top, ranks.from_bottom), strict=True)
    ]


def are_top(
    weights: TransformerWeights, ranks: Int[Tensor, "some head pair"]
) -> Float64[np.ndarray, "pair layer head"]:
    """1 for ranks among the first `TOP`, otherwise 0."""
    found = (ranks < TOP).permute(2, 0, 1).to(torch.float64).numpy()
    return on_every_layer(weights.topology, found)


def ov_copying(weights: TransformerWeights, memory: int) -> Float64[np.ndarray, "layer head"]:
    """Σλ / Σ|λ| of each head's OV circuit, between -1 and 1; 1 means that it copies all tokens.

    The eigenvalues of E' W_V W_O W_U, tokens to tokens, are those of the d_head x d_head matrix
    W_O W_U E' W_V, and zeros (Elhage et al. 2021, on copying heads). The mean of W_U's columns is
    subtracted: adding the same to every logit changes no probability. NaN where all eigenvalues
    are zero.
    """
    tokens = [_token_matrix(weights, layer, memory) for layer in (0, 1)]
    out = np.full((len(weights.blocks), weights.topology.n_heads), np.nan)
    for layer in weights.topology.layers_with_heads:
        folded = folded_layer(weights, layer)
        small = folded.w_o @ (tokens[min(layer, 1)] @ folded.w_v)
        small = small.cpu().to(torch.float64)
        values = torch.linalg.eigvals(small)
        size = torch.linalg.matrix_norm(small)
        total = values.abs().sum(-1)
        share = values.real.sum(-1) / total
        out[layer] = torch.where(total > _ROUNDING * size, share, torch.nan).numpy()
    return out


def _token_matrix(
    weights: TransformerWeights, layer: int, memory: int
) -> Float[Tensor, "d_model d_model"]:
    """Centred W_U times E', summed over the vocabulary in parts that fit into `memory` bytes."""
    vocab, d_model = min(weights.w_e.shape[0], weights.w_u.shape[1]), weights.d_model
    total = torch.zeros(d_model, d_model, dtype=weights.dtype, device=weights.device)
    mean = folded_mean_unembedding(weights)
    for part in chunks(vocab, vocabulary_at_once(weights, memory)):
        columns = folded_unembedding(weights, part) - mean
        total += columns @ effective_embedding(weights, part, layer)
    return total


def vocabulary_at_once(weights: TransformerWeights, memory: int) -> int:
    """The number of tokens whose E' is computed at once in `memory` bytes."""
    each = weights.dtype.itemsize * (6 * weights.d_model + 4 * mlp_width(weights))
    return max(1, min(MOST_TOKENS, memory // each))


FIRST_COLUMNS = 256
"""Tokens of the vocabulary that every pair is compared with; most pairs are decided there."""


@dataclass(frozen=True)
class TokenRanks:
    """For each layer with heads, head and pair: how many tokens have a logit that large, or small.

    At least, or at most, the target's logit.

    The target is not counted, so 0 is the first place. Tokens with an equal logit are counted: a
    head that writes nothing puts no token first.
    """

    from_top: Int[Tensor, "some head pair"]
    from_bottom: Int[Tensor, "some head pair"]


def rank_tokens(
    weights: TransformerWeights,
    sources: Int[Tensor, " pair"],
    targets: Int[Tensor, " pair"],
    memory: int,
    *,
    most: int,
) -> TokenRanks:
    """Rank `targets` among all logits of E'[sources] W_OV W_U in every head. Counts end at `most`.

    A pair is finished as soon as both counts have reached `most`; for a small `most`, that takes a
    few hundred columns of the vocabulary. The others are computed only for heads that put the
    target near one end.
    """
    n_heads, itemsize = weights.topology.n_heads, weights.dtype.itemsize
    # Half of the memory: each pair's embedding, and its value and output in every head.
    d_head = weights.attentions[0].w_o.shape[1]
    pair = itemsize * (n_heads * (d_head + 2 * weights.d_model) + 2 * weights.d_model)
    top, bottom = [], []
    for part in chunks(len(sources), min(MOST_ROWS, memory // (2 * pair))):
        embedded = [effective_embedding(weights, sources[part], layer) for layer in (0, 1)]
        layers = [
            _ranks(weights, layer, embedded[min(layer, 1)], targets[part], memory // 2, most)
            for layer in weights.topology.layers_with_heads
        ]
        top.append(torch.stack([above for above, _ in layers]))
        bottom.append(torch.stack([below for _, below in layers]))
    return TokenRanks(torch.cat(top, dim=-1), torch.cat(bottom, dim=-1))


def _ranks(
    weights: TransformerWeights,
    layer: int,
    embedded: Float[Tensor, "pair d_model"],
    targets: Int[Tensor, " pair"],
    memory: int,
    most: int,
) -> tuple[Int[Tensor, "head pair"], Int[Tensor, "head pair"]]:
    """The counts of `TokenRanks` for the heads of one layer."""
    folded = folded_layer(weights, layer)
    w_o = into_unembedding(weights, folded.w_o)
    carried = embedded @ folded.w_v
    written = (carried @ w_o).flatten(0, 1)
    columns = weights.w_u[:, targets].T.to(weights.dtype)
    own = (written.unflatten(0, carried.shape[:2]) * columns).sum(-1)
    above = torch.zeros_like(own, dtype=torch.int64)
    below = torch.zeros_like(above)
    vocab = weights.w_u.shape[1]
    # With more pairs than this, W_O W_U is cheaper than a product of each output with W_U.
    d_head, d_model = w_o.shape[1:]
    worth_a_product = d_head * d_model // max(1, d_model - d_head)
    for part in _growing_chunks(vocab, memory // (own.numel() * (own.element_size() + 2))):
        w_u = weights.w_u[:, part].to(weights.dtype)
        open_pairs = (above < most) | (below < most)
        crowded = open_pairs.sum(-1) > worth_a_product
        for heads in crowded.nonzero().flatten().tolist():
            logits = carried[heads] @ (w_o[heads] @ w_u)
            _count(logits, own[heads], targets, part, above[heads], below[heads])
        single = (open_pairs & ~crowded[:, None]).flatten().nonzero().flatten()
        if len(single):
            found = [counts.flatten()[single] for counts in (above, below)]
            pair = single % len(targets)
            logits = written[single] @ w_u
            _count(logits, own.flatten()[single], targets[pair], part, found[0], found[1])
            above.view(-1)[single], below.view(-1)[single] = found[0], found[1]
    return above.clamp(max=most).cpu(), below.clamp(max=most).cpu()


def _growing_chunks(total: int, most: int) -> Iterator[slice]:
    """Split `range(total)` into slices growing from `FIRST_COLUMNS` to `most` or `MOST_TOKENS`."""
    start, size = 0, FIRST_COLUMNS
    while start < total:
        width = max(1, min(size, most, MOST_TOKENS))
        yield slice(start, min(start + width, total))
        start, size = start + width, 4 * size


def _count(
    logits: Float[Tensor, "pair vocab"],
    own: Float[Tensor, " pair"],
    targets: Int[Tensor, " pair"],
    part: slice,
    above: Int[Tensor, " pair"],
    below: Int[Tensor, " pair"],
) -> None:
    """Add the counts over the columns of `part` to `above` and `below`."""
    inside = ((targets >= part.start) & (targets < part.stop)).nonzero().flatten()
    # A target's own column never counts, however it was rounded.
    logits[inside, targets[inside] - part.start] = torch.nan
    above += (logits >= own[:, None]).sum(-1)
    below += (logits <= own[:, None]).sum(-1)


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
