"""Heads as matrices on the residual stream, with the linear part of the norms folded in.

A norm divides each position by a positive scale; all else it does is linear: it centres (LayerNorm)
and applies weights. Only that factor of each row is left out (Elhage et al. 2021, "A Mathematical
Framework for Transformer Circuits", on folding layer norm).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.engine.forward import run_mlp
from acdc_pipeline.heads.batches import rows_in_cache
from acdc_pipeline.models.weights import Norm, TransformerWeights


@dataclass(frozen=True)
class FoldedLayer:
    """The heads of a layer; each query head has its own copy of its group's key and value."""

    w_q: Float[Tensor, "head d_model d_head"]
    w_k: Float[Tensor, "head d_model d_head"]
    w_v: Float[Tensor, "head d_model d_head"]
    w_o: Float[Tensor, "head d_head d_model"]
    heads_per_kv: int


def folded_layer(weights: TransformerWeights, layer: int) -> FoldedLayer:
    """The heads of `layer`: a head writes x W_V W_O for a stream x, up to the scales of norms.

    Rotation, QK norms and biases are left out.
    """
    block = weights.blocks[layer]
    attn = block.attn
    w_o = attn.w_o.to(weights.dtype)
    if block.post_attn is not None and block.post_attn.weight is not None:
        w_o = w_o * block.post_attn.weight
    w_q, w_k, w_v = (
        fold_norm(matrix.to(weights.dtype), block.norm_attn, dim=-2)
        for matrix in (attn.w_q, attn.w_k, attn.w_v)
    )
    if attn.heads_per_kv > 1:
        w_k, w_v = (w.repeat_interleave(attn.heads_per_kv, dim=0) for w in (w_k, w_v))
    return FoldedLayer(w_q, w_k, w_v, w_o, attn.heads_per_kv)


def folded_unembedding(
    weights: TransformerWeights, columns: slice | Int[Tensor, " n"]
) -> Float[Tensor, "d_model n"]:
    """Columns of the unembedding, with the final norm's linear part."""
    return fold_norm(weights.w_u[:, columns].to(weights.dtype), weights.norm_final, dim=-2)


def folded_mean_unembedding(weights: TransformerWeights) -> Float[Tensor, "d_model 1"]:
    """The mean of all columns of `folded_unembedding`.

    An output along it adds the same to every logit, and changes no probability.
    """
    mean = weights.w_u.to(weights.dtype).mean(dim=-1, keepdim=True)
    return fold_norm(mean, weights.norm_final, dim=-2)


def effective_embedding(
    weights: TransformerWeights, rows: slice | Int[Tensor, " n"], layer: int
) -> Float[Tensor, "n d_model"]:
    """E' of some tokens: the input that they give to heads of `layer`.

    The token embedding, plus in layers after the first the first MLP's output for it (Wang et al.
    2022, arXiv 2211.00593, section 3.1).
    """
    embedding = weights.w_e[rows].to(weights.dtype)
    first = weights.blocks[0]
    if layer == 0 or first.mlp is None:
        return embedding
    parts = embedding.split(rows_in_cache(weights, pos=1))
    return torch.cat([part + run_mlp(first, part) for part in parts])


def into_unembedding(
    weights: TransformerWeights, rows: Float[Tensor, "*lead d_model"]
) -> Float[Tensor, "*lead d_model"]:
    """Apply the linear part of the final norm to `rows`.

    rows · `folded_unembedding(columns)` is `into_unembedding(rows)` · W_U[columns].
    """
    norm = weights.norm_final
    if norm.kind == "layer":
        rows = rows - rows.mean(dim=-1, keepdim=True)
    return rows if norm.kind == "none" or norm.weight is None else rows * norm.weight


def fold_norm(reader: Float[Tensor, "*shape"], norm: Norm, *, dim: int) -> Float[Tensor, "*shape"]:
    """Fold the linear part of `norm` into what reads its output along the axis `dim`, from the end.

    With a direction that reads a final stream, the result is the gradient of
    `normalise(final)·direction` by `final` without the scale, which alone depends on `final`.
    """
    if norm.kind == "none":
        return reader
    if norm.weight is not None:
        reader = reader * norm.weight.view(-1, *[1] * (-1 - dim))
    return reader - reader.mean(dim=dim, keepdim=True) if norm.kind == "layer" else reader
