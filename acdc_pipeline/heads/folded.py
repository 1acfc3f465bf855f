"""Heads as matrices on the residual stream, with the linear part of the norms folded in.

A norm divides each position by a positive scale; all else it does is linear: it centres (LayerNorm)
and applies weights. Only that factor of each row is left out (Elhage et al. 2021, "A Mathematical
Framework for Transformer Circuits", on folding layer norm).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from acdc_pipeline.engine.forward import run_mlp
from acdc_pipeline.graph import Slot
from acdc_pipeline.heads.batches import rows_in_cache
from acdc_pipeline.models.weights import Attention, Norm, TransformerWeights
from acdc_pipeline.text import pluralize


@dataclass(frozen=True)
class FoldedLayer:
    """The heads of a layer; each query head has its own copy of its group's key and value."""

    w_q: Float[Tensor, "head d_model d_qk"]
    w_k: Float[Tensor, "head d_model d_qk"]
    w_v: Float[Tensor, "head d_model d_v"]
    w_o: Float[Tensor, "head d_v d_model"]
    heads_per_kv: int


def folded_layer(weights: TransformerWeights, layer: int) -> FoldedLayer:
    """The heads of `layer`: a head writes x W_V W_O for a stream x, up to the scales of norms.

    Rotation, ALiBi, sinks, norms and gates of whole heads, and biases are left out. A circuit that
    is not a product of matrices (`find_obstacles`) has zeros for its matrices.
    """
    block = weights.blocks[layer]
    attn = block.attention
    w_o = attn.w_o.to(weights.dtype)
    if block.post_attn is not None and block.post_attn.weight is not None:
        w_o = w_o * block.post_attn.weight
    obstacles = find_obstacles(attn)
    folded: dict[Slot, Tensor] = {}
    for slot, matrix in attn.matrices.items():
        width = attn.d_qk if slot == "q" else matrix.shape[2]
        if ("ov" if slot == "v" else "qk") in obstacles:
            folded[slot] = w_o.new_zeros(len(matrix), weights.d_model, width)
            continue
        kept = matrix[..., :width].to(weights.dtype)
        if slot == "v" and attn.v_norm is not None and attn.v_norm.weight is not None:
            kept = kept * attn.v_norm.weight[:, None]
        folded[slot] = fold_norm(kept, block.norm_attn, dim=-2)
    if attn.heads_per_kv > 1:
        for slot in ("k", "v"):
            folded[slot] = folded[slot].repeat_interleave(attn.heads_per_kv, dim=0)
    return FoldedLayer(folded["q"], folded["k"], folded["v"], w_o, attn.heads_per_kv)


Circuit = Literal["ov", "qk"]

_ROWS_WIDENED = 64
"""Rows of the unembedding that are widened at once, for their means."""


def find_obstacles(attn: Attention) -> dict[Circuit, str]:
    """Why a circuit of these heads is not a product of matrices, even up to factors of positions.

    Circuits without an obstacle are missing.
    """
    if attn.clip is not None:
        clipped = "projections are clipped"
        return {"ov": clipped, "qk": clipped}
    found: dict[Circuit, str] = {}
    if attn.v_latent is not None:
        found["ov"] = "values are computed from a latent"
    elif attn.v_norm is not None and attn.v_norm.kind == "layer":
        found["ov"] = "values are centred"
    elif attn.gate == "elements":
        found["ov"] = "every dimension of the values has a gate"
    if attn.q_latent is not None or attn.k_latent is not None:
        found["qk"] = "queries or keys are computed from a latent"
    elif attn.difference is not None:
        found["qk"] = "a head has two queries and two keys"
    return found


def describe_obstacles(weights: TransformerWeights) -> list[str]:
    """A sentence for each circuit and reason for which scores from the weights are missing."""
    scores = {
        "ov": "ov_copying, ov_norm, v_composition, and shares of tokens from the weights",
        "qk": "qk_norm, q_composition and k_composition",
    }
    layers: dict[tuple[Circuit, str], int] = {}
    for attn in weights.attentions:
        for found in find_obstacles(attn).items():
            layers[found] = layers.get(found, 0) + 1
    total = len(weights.blocks)
    return [
        f"{circuit.upper()} circuits of {count} of {pluralize(total, 'layer')} are no product of "
        f"matrices, because {reason}: {scores[circuit]} are not available there"
        for (circuit, reason), count in layers.items()
    ]


def available_values(
    weights: TransformerWeights, values: Float64[np.ndarray, "*lead layer head"], circuit: Circuit
) -> Float64[np.ndarray, "*lead layer head"]:
    """`values`, which follow from one circuit of each head, with NaN where it has an obstacle."""
    missing = [
        block.attn is not None and circuit in find_obstacles(block.attn) for block in weights.shapes
    ]
    return np.where(np.array(missing)[:, None], np.nan, values) if any(missing) else values


def folded_unembedding(
    weights: TransformerWeights, columns: slice | Int[Tensor, " n"]
) -> Float[Tensor, "d_model n"]:
    """Columns of the unembedding, with the final norm's linear part."""
    return fold_norm(weights.w_u[:, columns].to(weights.dtype), weights.norm_final, dim=-2)


def folded_mean_unembedding(weights: TransformerWeights) -> Float[Tensor, "d_model 1"]:
    """The mean of all columns of `folded_unembedding`.

    An output along it adds the same to every logit, and changes no probability.
    """
    # A narrow matrix is widened in parts, which are multiples of what a mean takes at once.
    whole = weights.w_u.dtype is weights.dtype
    rows = weights.w_u.split(weights.d_model if whole else _ROWS_WIDENED)
    mean = torch.cat([part.to(weights.dtype).mean(dim=-1, keepdim=True) for part in rows])
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
