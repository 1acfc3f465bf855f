"""Principal components of what heads write, in the coordinates of their output matrices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from acdc_pipeline.heads.natural.layers import LayerText

COMPONENTS = 3
"""The number of components whose tokens and texts are stored."""

SPECTRUM = 8
"""The number of components whose share of the variance is stored."""


@dataclass(frozen=True)
class Written:
    """The principal components of the outputs of the heads of a layer.

    Args:
        share: the share of the variance of each component, largest first; 0 for a head that writes
            the same at every query.
        direction: unit vectors in the residual stream.
        score: how far the output at each query is along each component, from the mean output.
    """

    share: Float64[Tensor, "head spectrum"]
    direction: Float[Tensor, "head rank d_model"]
    score: Float[Tensor, "head rank place"]


def components(layer: LayerText) -> Written:
    """The principal components of every head's outputs at the counted queries.

    With o = c W_O, G = W_O W_Oᵀ and C the covariance of c, the non-zero eigenvalues of o's
    covariance are those of G^½ C G^½, and a direction is u = W_Oᵀ G^-½ y for an eigenvector y: the
    components are exact and cost a decomposition of a d_head x d_head matrix. The sign is that
    with the longer end positive.
    """
    w_o = layer.w_o.double()
    centred = layer.carried - layer.carried.mean(1, keepdim=True)
    covariance = (centred.transpose(-2, -1) @ centred).double() / centred.shape[1]
    values, vectors = torch.linalg.eigh(w_o @ w_o.transpose(-2, -1))
    values = values.clamp(min=0)
    least = values[:, -1:] * torch.finfo(centred.dtype).eps
    inverse = torch.where(values > least, values.rsqrt(), 0.0)
    root = (vectors * values.sqrt()[:, None]) @ vectors.transpose(-2, -1)
    inverse_root = (vectors * inverse[:, None]) @ vectors.transpose(-2, -1)
    variances, found = torch.linalg.eigh(root @ covariance @ root)
    variances = variances.flip(-1).clamp(min=0)
    total = variances.sum(-1, keepdim=True)
    rank = min(COMPONENTS, found.shape[-1])
    chosen = found.flip(-1)[..., :rank]
    along = (root @ chosen).to(centred.dtype)
    score = (centred @ along).transpose(-2, -1)
    sign = torch.where(score.amax(-1) >= -score.amin(-1), 1.0, -1.0).to(score.dtype)
    direction = chosen.transpose(-2, -1) @ (inverse_root @ w_o)
    return Written(
        torch.where(total > 0, variances / total, 0.0)[:, :SPECTRUM].cpu(),
        (direction.to(centred.dtype) * sign[..., None]),
        score * sign[..., None],
    )
