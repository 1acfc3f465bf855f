"""Read the weights of a `TransformerBridge` into plain tensors, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.models.architectures.base import Architecture
from acdc_pipeline.models.architectures.reading.blocks import (
    ACTIVATIONS,
    check_post_norm,
    drop_zero,
    scale_outputs,
)
from acdc_pipeline.models.architectures.reading.norms import NO_NORM, read_head_norm, read_norm
from acdc_pipeline.models.architectures.reading.rotary import read_rotary
from acdc_pipeline.models.weights import (
    Activation,
    Attention,
    Block,
    HeadNorm,
    Mlp,
    Rotary,
    RotaryPairs,
    TransformerWeights,
)

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


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
            blocks=tuple(scale_outputs(block, output_scale) for block in blocks),
            norm_final=read_norm(bridge.ln_final.original_component, architecture),
            w_u=logit_scale * bridge.W_U,
            b_u=drop_zero(logit_scale * bridge.b_U),
            parallel=bool(getattr(cfg, "parallel_attn_mlp", False)),
            n_ctx=int(cfg.n_ctx),
            logit_cap=architecture.logit_cap(config),
        )


def _find_activation(name: str) -> Activation:
    if name not in ACTIVATIONS:
        raise UnsupportedModel(
            f"activation '{name}' is not reproduced", allowed=", ".join(sorted(ACTIVATIONS))
        )
    return ACTIVATIONS[name]


def _extract_block(
    block: Any,
    cfg: Any,
    architecture: Architecture,
    activation: Activation | None,
    rotary: Rotary | None,
) -> Block:
    parts = dict(block.named_children())
    norms = {
        name: read_norm(parts[name].original_component, architecture)
        for name in ("ln1", "ln2", "ln1_post", "ln2_post")
        if name in parts
    }
    module = parts.get("mlp")
    mlp = None if module is None or activation is None else _extract_mlp(module, activation)
    attn = _extract_attention(block.attn, cfg, architecture, rotary)
    # OLMo 2 has norms after its parts only; a parallel block may share one norm.
    norm_attn = norms.get("ln1", NO_NORM)
    post_attn = norms.get("ln1_post")
    check_post_norm(attn, post_attn)
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
        b_q=drop_zero(attn.b_Q),
        b_k=drop_zero(attn.b_K),
        b_v=drop_zero(attn.b_V),
        b_o=drop_zero(attn.b_O),
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
        b_in=drop_zero(mlp.b_in),
        w_gate=mlp.W_gate,
        b_gate=None if mlp.W_gate is None else drop_zero(mlp.b_gate),
        w_out=mlp.W_out,
        b_out=drop_zero(mlp.b_out),
        activation=activation,
    )


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
        return [None if table is None else Rotary(*table, pairs) for table in tables]
    attentions = [block.attn.original_component for block in bridge.blocks]
    module = bridge.rotary_emb.original_component
    return read_rotary(module, architecture, attentions, int(bridge.cfg.n_ctx))


def _extract_head_norm(
    component: Any, architecture: Architecture, heads: int, d_head: int
) -> HeadNorm | None:
    module = None if component is None else component.original_component
    return read_head_norm(module, architecture, heads, d_head)
