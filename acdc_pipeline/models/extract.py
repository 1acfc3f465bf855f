"""Weights out of a bridge, through its accessors, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.models.extract_attention import extract_attention, nonzero
from acdc_pipeline.models.extract_multipliers import extract_multipliers
from acdc_pipeline.models.extract_norm import extract_norm
from acdc_pipeline.models.extract_rotary import extract_rotary
from acdc_pipeline.models.weights import (
    Activation,
    Block,
    Mlp,
    Norm,
    Rotary,
    TransformerWeights,
)

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

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
    config = getattr(bridge.original_model, "config", cfg)
    rotary = extract_rotary(bridge, architecture)
    learned = str(cfg.positional_embedding_type).lower() != "rotary"
    parallel = bool(getattr(cfg, "parallel_attn_mlp", False))
    multipliers = extract_multipliers(config)
    scale = multipliers.logits
    with torch.no_grad():
        return TransformerWeights(
            w_e=multipliers.embedding * _embedding(bridge),
            w_pos=bridge.W_pos if learned else None,
            blocks=tuple(
                multipliers.of_outputs(_block(block, cfg, _activation(config, cfg), table))
                for block, table in zip(bridge.blocks, rotary, strict=True)
            ),
            norm_final=extract_norm(bridge.ln_final),
            w_u=scale * bridge.W_U,
            b_u=nonzero(scale * bridge.b_U),
            parallel=parallel,
            n_ctx=int(cfg.n_ctx),
            logit_cap=_logit_cap(config),
        )


def _embedding(bridge: TransformerBridge) -> Float[Tensor, "vocab d_model"]:
    """The token embedding with the scale that Gemma's module puts on it."""
    weight = bridge.W_E
    scale: Tensor | None = getattr(bridge.embed.original_component, "embed_scale", None)
    return weight if scale is None else weight * scale.to(weight.dtype)


def _logit_cap(config: Any) -> float | None:
    """Gemma's cap in a Hugging Face config, or the native one; that is -1 where there is none."""
    for name in ("final_logit_softcapping", "output_logits_soft_cap"):
        cap = getattr(config, name, None)
        if cap is not None and cap > 0:
            return float(cap)
    return None


def _activation(config: Any, cfg: Any) -> Activation:
    # Falcon's name for it is not one that TransformerLens knows.
    name = str(getattr(config, "activation", None) or cfg.act_fn)
    if name not in _ACTIVATIONS:
        raise UnsupportedModel(
            f"activation '{name}' is not reproduced", allowed=", ".join(sorted(_ACTIVATIONS))
        )
    return _ACTIVATIONS[name]


def _block(block: Any, cfg: Any, activation: Activation, rotary: Rotary | None) -> Block:
    parts = dict(block.named_children())
    mlp = parts.get("mlp")
    attn = extract_attention(block.attn, cfg, rotary)
    # OLMo 2 has norms after its parts only; parallel blocks may have one norm before both.
    norm_attn = extract_norm(parts["ln1"]) if "ln1" in parts else Norm("none", None, None, 0.0)
    norm_mlp = extract_norm(parts["ln2"]) if "ln2" in parts else norm_attn
    post_attn = extract_norm(parts["ln1_post"]) if "ln1_post" in parts else None
    if post_attn is not None and (post_attn.kind != "rms" or attn.b_o is not None):
        raise UnsupportedModel(
            "a norm after the attention is reproduced as an RMS norm of heads without a bias only"
        )
    return Block(
        norm_attn=norm_attn,
        attn=attn,
        norm_mlp=None if mlp is None else norm_mlp,
        mlp=None if mlp is None else _mlp(mlp, activation),
        post_attn=post_attn,
        post_mlp=extract_norm(parts["ln2_post"]) if "ln2_post" in parts else None,
    )


def _mlp(mlp: Any, activation: Activation) -> Mlp:
    gated = mlp.W_gate is not None
    return Mlp(
        w_in=mlp.W_in,
        b_in=nonzero(mlp.b_in),
        w_gate=mlp.W_gate,
        b_gate=nonzero(mlp.b_gate) if gated else None,
        w_out=mlp.W_out,
        b_out=nonzero(mlp.b_out),
        activation=activation,
    )
