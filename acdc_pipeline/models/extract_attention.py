"""Attention layers out of a bridge, with their scales, caps and windows."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.models.extract_norm import extract_head_norm
from acdc_pipeline.models.weights import Attention, Rotary

# These read the window from the config instead of keeping it in the module.
_WINDOW_IN_CONFIG = {"MistralAttention", "Starcoder2Attention", "Phi3Attention"}
# These do not scale the products of queries and keys at all.
_UNSCALED = {"GPTNeoSelfAttention"}


def extract_attention(attn: Any, cfg: Any, rotary: Rotary | None) -> Attention:
    """One attention layer as plain tensors.

    Raises:
        UnsupportedModel: its norm of queries or keys is not reproduced.
    """
    w_q, w_k = attn.W_Q, attn.W_K
    return Attention(
        w_q=w_q,
        w_k=w_k,
        w_v=attn.W_V,
        w_o=attn.W_O,
        b_q=nonzero(attn.b_Q),
        b_k=nonzero(attn.b_K),
        b_v=nonzero(attn.b_V),
        b_o=nonzero(attn.b_O),
        scale=_scale(attn.original_component),
        rotary=rotary,
        direction="causal" if cfg.attention_dir == "causal" else "bidirectional",
        window=_window(attn.original_component),
        score_cap=_score_cap(attn.original_component),
        q_norm=extract_head_norm(_part(attn, "q_norm"), heads=w_q.shape[0], d_head=w_q.shape[2]),
        k_norm=extract_head_norm(_part(attn, "k_norm"), heads=w_k.shape[0], d_head=w_k.shape[2]),
    )


def nonzero(bias: Float[Tensor, "*shape"] | None) -> Float[Tensor, "*shape"] | None:
    """A bias that is zero everywhere is no bias: one addition less in every state."""
    return None if bias is None or not bool(bias.any()) else bias


def _part(attn: Any, name: str) -> Any:
    return dict(attn.named_children()).get(name)


def _scale(module: Any) -> float:
    """What q·k is multiplied by: most modules keep that, others what they divide by."""
    if type(module).__name__ in _UNSCALED:
        return 1.0
    for name in ("scaling", "inv_norm_factor"):
        if getattr(module, name, None) is not None:
            return float(getattr(module, name))
    divisor = module.scale_attn if hasattr(module, "scale_attn") else module.scale
    return 1.0 / float(divisor)


def _score_cap(module: Any) -> float | None:
    for name in ("attn_logit_softcapping", "attn_scores_soft_cap"):
        cap = getattr(module, name, None)
        if cap is not None and cap > 0:
            return float(cap)
    return None


def _window(module: Any) -> int | None:
    """How many keys a query sees, itself included; None where it sees all before it."""
    if getattr(module, "attention_type", None) == "local":
        return int(module.config.window_size)
    holder = module.config if type(module).__name__ in _WINDOW_IN_CONFIG else module
    window = getattr(holder, "sliding_window", None)
    return None if window is None else int(window)
