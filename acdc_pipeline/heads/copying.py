"""Whether a head's OV circuit takes tokens to themselves, by the eigenvalues of a small matrix."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from acdc_pipeline.heads.batches import MOST_TOKENS, chunks
from acdc_pipeline.heads.folded import (
    effective_embedding,
    folded_layer,
    folded_unembedding,
    mean_unembedding,
)
from acdc_pipeline.models.weights import TransformerWeights

# Below this share of the matrix's size, eigenvalues are what rounding left of zeros.
_ROUNDING = 1e-6


def ov_copying(weights: TransformerWeights, memory: int) -> Float64[np.ndarray, "layer head"]:
    """Σλ / Σ|λ| of each head's OV circuit, between -1 and 1; 1 where all tokens gain on the whole.

    The eigenvalues of E' W_V W_O W_U, tokens to tokens, are those of the d_head x d_head matrix
    W_O W_U E' W_V and zeros (Elhage et al. 2021, on copying heads). W_U without the mean of its
    columns: what is added to every logit alike changes no probability, and must change no score.
    NaN where all are zero: such a head moves no token towards or away from itself.
    """
    tokens = [_token_matrix(weights, layer, memory) for layer in (0, 1)]
    out = np.empty((len(weights.blocks), weights.topology.n_heads))
    for layer in range(len(weights.blocks)):
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
    """W_U E', W_U centred, summed over the vocabulary in chunks that fit into `memory` bytes."""
    vocab, d_model = min(weights.w_e.shape[0], weights.w_u.shape[1]), weights.d_model
    total = torch.zeros(d_model, d_model, dtype=weights.dtype, device=weights.device)
    mean = mean_unembedding(weights)
    for part in chunks(vocab, vocabulary_at_once(weights, memory)):
        columns = folded_unembedding(weights, part) - mean
        total += columns @ effective_embedding(weights, part, layer)
    return total


def vocabulary_at_once(weights: TransformerWeights, memory: int) -> int:
    """Tokens of the vocabulary whose E' is computed at once in `memory` bytes."""
    mlp = weights.blocks[0].mlp
    d_mlp = 0 if mlp is None else mlp.w_in.shape[1]
    each = weights.dtype.itemsize * (6 * weights.d_model + 4 * d_mlp)
    return max(1, min(MOST_TOKENS, memory // each))
