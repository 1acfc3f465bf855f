"""Norms of a model's own modules as plain tensors."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.models.architectures.base import Architecture
from acdc_pipeline.models.architectures.reading.blocks import drop_zero
from acdc_pipeline.models.weights import HeadNorm, Norm, NormKind

NO_NORM = Norm("none", None, None, 0.0)


def read_norm(module: Any, architecture: Architecture) -> Norm:
    """Return a norm of the residual stream, or of what a part writes to it.

    Raises:
        UnsupportedModel: the engine does not reproduce a norm of this class.
    """
    if type(module).__name__ == "Identity":
        return NO_NORM
    return Norm(
        _norm_kind(module, architecture),
        _norm_weight(module, architecture),
        getattr(module, "bias", None),
        _norm_eps(module, architecture),
    )


def read_head_norm(
    module: Any, architecture: Architecture, heads: int, d_head: int
) -> HeadNorm | None:
    """Return the norm of queries, keys or values, or None if there is none.

    Its weight and bias are shared by the heads, or hold a row per head, flattened or not.

    Raises:
        UnsupportedModel: the engine does not reproduce a norm of this class.
    """
    if module is None:
        return None
    per_head = architecture.head_norm_modules(module)
    if per_head is not None:
        norms = list(per_head)
        weight = torch.stack([norm.weight for norm in norms])
        return HeadNorm("layer", weight, _norm_eps(norms[0], architecture), "head")
    span = architecture.head_norm_span

    def by_head(values: Tensor | None) -> Tensor | None:
        if values is None:
            return None
        rows = values.expand(heads, d_head) if values.dim() == 1 and span == "head" else values
        return rows.reshape(heads, d_head)

    return HeadNorm(
        _norm_kind(module, architecture),
        by_head(_norm_weight(module, architecture)),
        _norm_eps(module, architecture),
        span,
        by_head(drop_zero(getattr(module, "bias", None))),
        architecture.norm_after_rotation,
    )


def _norm_kind(module: Any, architecture: Architecture) -> NormKind:
    name = type(module).__name__
    if isinstance(module, torch.nn.LayerNorm) or name in architecture.layer_norm_modules:
        return "layer"
    if "RMSNorm" in name or name in architecture.rms_norm_modules:
        return "rms"
    raise UnsupportedModel(f"normalisation '{name}' is not reproduced")


def _norm_weight(module: Any, architecture: Architecture) -> Float[Tensor, "*shape"] | None:
    weight: Tensor | None = getattr(module, "weight", None)
    if weight is None:
        return None
    offset = architecture.norm_offset_of(module)
    return weight if offset == 0 else offset + weight


def _norm_eps(module: Any, architecture: Architecture) -> float:
    for name in ("eps", "variance_epsilon"):
        if getattr(module, name, None) is not None:
            return float(getattr(module, name))
    if architecture.norm_eps is None:
        raise UnsupportedModel(f"normalisation '{type(module).__name__}' states no eps")
    return architecture.norm_eps
