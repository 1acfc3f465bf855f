"""Weights out of a bridge, through its accessors, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.models.bridge import NATIVE
from acdc_pipeline.models.weights import (
    Activation,
    Attention,
    Block,
    Mlp,
    Norm,
    Rotary,
    RotaryPairs,
    TransformerWeights,
)

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

# Rotary tables are cut here: longer prompts are refused by the engine, not approximated.
MAX_ROTARY_POSITIONS = 8192

_ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}


def extract_weights(bridge: TransformerBridge, architecture: str) -> TransformerWeights:
    """The model inside `bridge` as plain tensors.

    Raises:
        UnsupportedModel: a part the engine does not reproduce (an unknown activation or norm).
    """
    cfg = bridge.cfg
    rotary = _rotary(bridge, architecture)
    with torch.no_grad():
        return TransformerWeights(
            w_e=bridge.W_E,
            w_pos=bridge.W_pos if rotary is None else None,
            blocks=tuple(_block(block, cfg, rotary) for block in bridge.blocks),
            norm_final=_norm(bridge.ln_final, cfg),
            w_u=bridge.W_U,
            b_u=_nonzero(bridge.b_U),
            parallel=bool(getattr(cfg, "parallel_attn_mlp", False)),
            n_ctx=int(cfg.n_ctx),
        )


def _block(block: Any, cfg: Any, rotary: Rotary | None) -> Block:
    mlp = getattr(block, "mlp", None)
    return Block(
        norm_attn=_norm(block.ln1, cfg),
        attn=_attention(block.attn, cfg, rotary),
        norm_mlp=None if mlp is None else _norm(block.ln2, cfg),
        mlp=None if mlp is None else _mlp(mlp, cfg),
    )


def _attention(attn: Any, cfg: Any, rotary: Rotary | None) -> Attention:
    return Attention(
        w_q=attn.W_Q,
        w_k=attn.W_K,
        w_v=attn.W_V,
        w_o=attn.W_O,
        b_q=_nonzero(attn.b_Q),
        b_k=_nonzero(attn.b_K),
        b_v=_nonzero(attn.b_V),
        b_o=_nonzero(attn.b_O),
        scale=_score_scale(attn),
        rotary=rotary,
        direction="causal" if cfg.attention_dir == "causal" else "bidirectional",
    )


def _score_scale(attn: Any) -> float:
    module = attn.original_component
    # Hugging Face modules multiply by `scaling`; the native one divides by `scale`.
    scaling = getattr(module, "scaling", None)
    return float(scaling) if scaling is not None else 1.0 / float(module.scale)


def _mlp(mlp: Any, cfg: Any) -> Mlp:
    name = str(cfg.act_fn)
    if name not in _ACTIVATIONS:
        raise UnsupportedModel(
            f"activation '{name}' is not reproduced", allowed=", ".join(sorted(_ACTIVATIONS))
        )
    return Mlp(
        w_in=mlp.W_in,
        b_in=_nonzero(mlp.b_in),
        w_gate=mlp.W_gate,
        w_out=mlp.W_out,
        b_out=_nonzero(mlp.b_out),
        activation=_ACTIVATIONS[name],
    )


def _norm(norm: Any, cfg: Any) -> Norm:
    module = norm.original_component
    kind = type(module).__name__
    weight = getattr(module, "weight", None)
    if kind == "Identity":
        return Norm("none", None, None, 0.0)
    eps = float(getattr(module, "eps", getattr(module, "variance_epsilon", cfg.eps)))
    if isinstance(module, torch.nn.LayerNorm) or kind == "NativeLayerNormPre":
        return Norm("layer", weight, getattr(module, "bias", None), eps)
    if "RMSNorm" in kind:
        return Norm("rms", weight, None, eps)
    raise UnsupportedModel(f"normalisation '{kind}' is not reproduced")


def _rotary(bridge: TransformerBridge, architecture: str) -> Rotary | None:
    cfg = bridge.cfg
    if str(cfg.positional_embedding_type).lower() != "rotary":
        return None
    positions = min(int(cfg.n_ctx), MAX_ROTARY_POSITIONS)
    if architecture == NATIVE:
        table: Any = bridge.original_model.rotary
        return Rotary(
            table.cos_cached[:positions], table.sin_cached[:positions], RotaryPairs.ADJACENT
        )
    module: Any = bridge.rotary_emb.original_component
    probe = torch.zeros(1, positions, 1, dtype=torch.float32)
    with torch.no_grad():
        cos, sin = module(probe, torch.arange(positions)[None])
    return Rotary(cos[0], sin[0], RotaryPairs.HALVES)


def _nonzero(bias: Float[Tensor, "*shape"] | None) -> Float[Tensor, "*shape"] | None:
    """A bias that is zero everywhere is no bias: one addition less in every state."""
    return None if bias is None or not bool(bias.any()) else bias
