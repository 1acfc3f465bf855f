"""Normalisations out of a bridge: of the residual stream, and of queries and keys."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.models.weights import HeadNorm, Norm, NormKind

# These scale by 1 + weight.
_OFFSET = {"GemmaRMSNorm", "Gemma2RMSNorm", "Gemma3RMSNorm"}
# LayerNorms that are not torch's own class; those without an `eps` in the module have it here.
_LAYER_NORMS = {"NativeLayerNormPre", "CohereLayerNorm", "OlmoLayerNorm"}
_FIXED_EPS = {"OlmoLayerNorm": 1e-5}
# Queries and keys are normalised over all heads of a layer together.
_ACROSS_LAYER = {"Olmo2RMSNorm", "Olmo3RMSNorm"}


def extract_norm(component: Any) -> Norm:
    """The norm inside a bridge's component.

    Raises:
        UnsupportedModel: a kind of norm that the engine does not reproduce.
    """
    module = component.original_component
    if type(module).__name__ == "Identity":
        return Norm("none", None, None, 0.0)
    return Norm(_kind(module), _weight(module), getattr(module, "bias", None), _eps(module))


def extract_head_norm(component: Any, *, heads: int, d_head: int) -> HeadNorm | None:
    """The norm of queries or keys, or None where the model has none.

    Its weight is shared by the heads or, flat or not, each head's own. StableLM keeps one module
    a head.

    Raises:
        UnsupportedModel: a kind of norm that the engine does not reproduce.
    """
    if component is None or component.original_component is None:
        return None
    module = component.original_component
    per_head = getattr(module, "norms", None)
    if per_head is not None:
        weight = torch.stack([norm.weight for norm in per_head])
        return HeadNorm("layer", weight, _eps(per_head[0]), "head")
    weight = _weight(module)
    if weight is None:
        raise UnsupportedModel(f"'{type(module).__name__}' of queries or keys has no weight")
    across = "layer" if type(module).__name__ in _ACROSS_LAYER else "head"
    rows = weight.expand(heads, d_head) if weight.dim() == 1 and across == "head" else weight
    return HeadNorm(_kind(module), rows.reshape(heads, d_head), _eps(module), across)


def _kind(module: Any) -> NormKind:
    name = type(module).__name__
    if isinstance(module, torch.nn.LayerNorm) or name in _LAYER_NORMS:
        return "layer"
    if "RMSNorm" in name:
        return "rms"
    raise UnsupportedModel(f"normalisation '{name}' is not reproduced")


def _weight(module: Any) -> Float[Tensor, "*shape"] | None:
    weight: Tensor | None = getattr(module, "weight", None)
    if weight is not None and type(module).__name__ in _OFFSET:
        return 1 + weight
    return weight


def _eps(module: Any) -> float:
    for name in ("eps", "variance_epsilon"):
        if hasattr(module, name):
            return float(getattr(module, name))
    try:
        return _FIXED_EPS[type(module).__name__]
    except KeyError:
        raise UnsupportedModel(f"normalisation '{type(module).__name__}' states no eps") from None
