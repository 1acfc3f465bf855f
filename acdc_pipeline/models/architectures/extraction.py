"""Read the weights of a loaded model into plain tensors, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.models.architectures.base import MAX_ROTARY_POSITIONS, Architecture
from acdc_pipeline.models.weights import (
    Activation,
    Attention,
    Block,
    HeadNorm,
    Mlp,
    Norm,
    NormKind,
    Rotary,
    RotaryPairs,
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


def extract_weights(bridge: TransformerBridge, architecture: Architecture) -> TransformerWeights:
    """Return the model inside `bridge` as plain tensors.

    Raises:
        UnsupportedModel: an activation or a norm that the engine does not reproduce.
    """
    cfg = bridge.cfg
    config = getattr(bridge.original_model, "config", cfg)
    rotary = _extract_rotary(bridge, architecture)
    activation = (
        None if cfg.attn_only else _find_activation(architecture.activation_name(config, cfg))
    )
    output_scale = architecture.output_scale(config)
    logit_scale = architecture.logit_scale(config)
    with torch.no_grad():
        blocks = [
            _extract_block(block, cfg, architecture, activation, table)
            for block, table in zip(bridge.blocks, rotary, strict=True)
        ]
        return TransformerWeights(
            w_e=architecture.scale_embedding(bridge.W_E, bridge),
            w_pos=None if _is_rotary(cfg) else bridge.W_pos,
            blocks=tuple(_scale_outputs(block, output_scale) for block in blocks),
            norm_final=_extract_norm(bridge.ln_final, architecture),
            w_u=logit_scale * bridge.W_U,
            b_u=_drop_zero(logit_scale * bridge.b_U),
            parallel=bool(getattr(cfg, "parallel_attn_mlp", False)),
            n_ctx=int(cfg.n_ctx),
            logit_cap=architecture.logit_cap(config),
        )


def _find_activation(name: str) -> Activation:
    if name not in _ACTIVATIONS:
        raise UnsupportedModel(
            f"activation '{name}' is not reproduced", allowed=", ".join(sorted(_ACTIVATIONS))
        )
    return _ACTIVATIONS[name]


def _extract_block(
    block: Any,
    cfg: Any,
    architecture: Architecture,
    activation: Activation | None,
    rotary: Rotary | None,
) -> Block:
    parts = dict(block.named_children())
    norms = {
        name: _extract_norm(parts[name], architecture)
        for name in ("ln1", "ln2", "ln1_post", "ln2_post")
        if name in parts
    }
    module = parts.get("mlp")
    mlp = None if module is None or activation is None else _extract_mlp(module, activation)
    attn = _extract_attention(block.attn, cfg, architecture, rotary)
    # OLMo 2 has norms after its parts only; a parallel block may share one norm.
    norm_attn = norms.get("ln1", Norm("none", None, None, 0.0))
    post_attn = norms.get("ln1_post")
    if post_attn is not None and (post_attn.kind != "rms" or attn.b_o is not None):
        raise UnsupportedModel(
            "a norm after the attention is reproduced only as an RMS norm of heads without a bias"
        )
    return Block(
        norm_attn=norm_attn,
        attn=attn,
        norm_mlp=None if mlp is None else norms.get("ln2", norm_attn),
        mlp=mlp,
        post_attn=post_attn,
        post_mlp=norms.get("ln2_post"),
    )


def _extract_attention(
    attn: Any, cfg: Any, architecture: Architecture, rotary: Rotary | None
) -> Attention:
    module, parts = attn.original_component, dict(attn.named_children())
    w_q, w_k = attn.W_Q, attn.W_K
    return Attention(
        w_q=w_q,
        w_k=w_k,
        w_v=attn.W_V,
        w_o=attn.W_O,
        b_q=_drop_zero(attn.b_Q),
        b_k=_drop_zero(attn.b_K),
        b_v=_drop_zero(attn.b_V),
        b_o=_drop_zero(attn.b_O),
        scale=architecture.score_scale(module),
        rotary=rotary,
        direction="causal" if cfg.attention_dir == "causal" else "bidirectional",
        window=architecture.window(module),
        score_cap=architecture.score_cap(module),
        q_norm=_extract_head_norm(parts.get("q_norm"), architecture, w_q.shape[0], w_q.shape[2]),
        k_norm=_extract_head_norm(parts.get("k_norm"), architecture, w_k.shape[0], w_k.shape[2]),
    )


def _extract_mlp(mlp: Any, activation: Activation) -> Mlp:
    return Mlp(
        w_in=mlp.W_in,
        b_in=_drop_zero(mlp.b_in),
        w_gate=mlp.W_gate,
        b_gate=None if mlp.W_gate is None else _drop_zero(mlp.b_gate),
        w_out=mlp.W_out,
        b_out=_drop_zero(mlp.b_out),
        activation=activation,
    )


def _scale_outputs(block: Block, scale: float) -> Block:
    """Return `block` with everything it writes into the residual stream times `scale`."""
    if scale == 1.0:
        return block
    attn, mlp = block.attn, block.mlp
    b_o = None if attn.b_o is None else scale * attn.b_o
    if mlp is not None:
        b_out = None if mlp.b_out is None else scale * mlp.b_out
        mlp = replace(mlp, w_out=scale * mlp.w_out, b_out=b_out)
    return replace(block, attn=replace(attn, w_o=scale * attn.w_o, b_o=b_o), mlp=mlp)


def _drop_zero(bias: Float[Tensor, "*shape"] | None) -> Float[Tensor, "*shape"] | None:
    """Return None for a bias that is zero everywhere, which saves an addition per state."""
    return None if bias is None or not bool(bias.any()) else bias


def _extract_norm(component: Any, architecture: Architecture) -> Norm:
    module = component.original_component
    if type(module).__name__ == "Identity":
        return Norm("none", None, None, 0.0)
    return Norm(
        _norm_kind(module, architecture),
        _norm_weight(module, architecture),
        getattr(module, "bias", None),
        _norm_eps(module, architecture),
    )


def _extract_head_norm(
    component: Any, architecture: Architecture, heads: int, d_head: int
) -> HeadNorm | None:
    """Return the norm of queries or keys, or None if there is none.

    Its weight is shared by the heads, or holds a row per head, flattened or not.
    """
    if component is None or component.original_component is None:
        return None
    module = component.original_component
    per_head = architecture.head_norm_modules(module)
    if per_head is not None:
        norms = list(per_head)
        weight = torch.stack([norm.weight for norm in norms])
        return HeadNorm("layer", weight, _norm_eps(norms[0], architecture), "head")
    weight = _norm_weight(module, architecture)
    if weight is None:
        raise UnsupportedModel(f"'{type(module).__name__}' of queries or keys has no weight")
    span = architecture.head_norm_span
    rows = weight.expand(heads, d_head) if weight.dim() == 1 and span == "head" else weight
    return HeadNorm(
        _norm_kind(module, architecture),
        rows.reshape(heads, d_head),
        _norm_eps(module, architecture),
        span,
    )


def _norm_kind(module: Any, architecture: Architecture) -> NormKind:
    name = type(module).__name__
    if isinstance(module, torch.nn.LayerNorm) or name in architecture.layer_norm_modules:
        return "layer"
    if "RMSNorm" in name:
        return "rms"
    raise UnsupportedModel(f"normalisation '{name}' is not reproduced")


def _norm_weight(module: Any, architecture: Architecture) -> Float[Tensor, "*shape"] | None:
    weight: Tensor | None = getattr(module, "weight", None)
    if weight is None or architecture.norm_offset == 0:
        return weight
    return architecture.norm_offset + weight


def _norm_eps(module: Any, architecture: Architecture) -> float:
    for name in ("eps", "variance_epsilon"):
        if hasattr(module, name):
            return float(getattr(module, name))
    if architecture.norm_eps is None:
        raise UnsupportedModel(f"normalisation '{type(module).__name__}' states no eps")
    return architecture.norm_eps


def _is_rotary(cfg: Any) -> bool:
    return str(cfg.positional_embedding_type).lower() == "rotary"


def _extract_rotary(
    bridge: TransformerBridge, architecture: Architecture
) -> Sequence[Rotary | None]:
    """Return the rotary embedding of each layer, None for layers without one."""
    n_layers = len(bridge.blocks)
    if not _is_rotary(bridge.cfg):
        return [None] * n_layers
    pairs = RotaryPairs(architecture.rotary_pairs)
    tables = architecture.rotary_tables(bridge)
    if tables is not None:
        return [Rotary(cos, sin, pairs) for cos, sin in tables]
    module: Any = bridge.rotary_emb.original_component
    # Where the base differs between kinds of layers, the module takes the kind as an argument.
    types: Sequence[str | None] = [None] * n_layers
    if isinstance(getattr(module, "rope_type", None), dict):
        types = list(module.config.layer_types)
    positions = _count_rotary_positions(module, int(bridge.cfg.n_ctx))
    by_type = {kind: _evaluate_rotary(module, positions, kind, pairs) for kind in set(types)}
    return [
        by_type[kind] if architecture.rotates(block.attn.original_component) else None
        for kind, block in zip(types, bridge.blocks, strict=True)
    ]


def _evaluate_rotary(
    module: Any, positions: int, layer_type: str | None, pairs: RotaryPairs
) -> Rotary:
    """Return the tables that the model's own module computes, whatever its scaling."""
    probe = torch.zeros(1, positions, 1, dtype=torch.float32)
    extra = () if layer_type is None else (layer_type,)
    with torch.no_grad():
        cos, sin = module(probe, torch.arange(positions)[None], *extra)
    return Rotary(cos[0], sin[0], pairs)


def _count_rotary_positions(module: Any, n_ctx: int) -> int:
    """Return the number of positions that one table holds for.

    LongRoPE switches to a second table beyond the length of the first training. That table is not
    extracted, so such prompts are refused.
    """
    positions = min(n_ctx, MAX_ROTARY_POSITIONS)
    parameters = getattr(module.config, "rope_parameters", None) or {}
    if parameters.get("rope_type") == "longrope":
        positions = min(positions, int(parameters["original_max_position_embeddings"]))
    return positions
