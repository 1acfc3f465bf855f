"""Read the weights of a transformers model into plain tensors, by the names of its modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.errors import UnsupportedModel
from acdc_pipeline.models.architectures.base import MAX_ROTARY_POSITIONS
from acdc_pipeline.models.architectures.layout import ModuleArchitecture, read_first
from acdc_pipeline.models.architectures.reading.blocks import (
    check_post_norm,
    drop_zero,
    scale_outputs,
)
from acdc_pipeline.models.architectures.reading.mlps import linear, read_mlp
from acdc_pipeline.models.architectures.reading.norms import NO_NORM, read_head_norm, read_norm
from acdc_pipeline.models.architectures.reading.rotary import read_rotary
from acdc_pipeline.models.weights import (
    Attention,
    Block,
    Norm,
    Rotary,
    RotaryPairs,
    TransformerWeights,
)


def read_weights(model: Any, architecture: ModuleArchitecture) -> TransformerWeights:
    """Return a transformers model as plain tensors, which share memory with it where they can.

    Raises:
        UnsupportedModel: the engine does not reproduce a norm, or a module is missing.
    """
    config = architecture.config(model)
    layers = list(find(model, architecture.layers))
    n_ctx = int(read_first(config, architecture.context_fields, MAX_ROTARY_POSITIONS))
    with torch.no_grad():
        tables = _read_rotary(model, architecture, layers, n_ctx)
        blocks = [
            _read_block(layer, architecture, config, table)
            for layer, table in zip(layers, tables, strict=True)
        ]
        output_scale = architecture.output_scale(config)
        logit_scale = architecture.logit_scale(config)
        w_u, b_u = linear(find(model, architecture.unembedding))
        embedding = find(model, architecture.embedding).weight
        return TransformerWeights(
            w_e=architecture.scale_embedding(embedding, model),
            w_pos=_read_positions(model, architecture),
            blocks=tuple(scale_outputs(block, output_scale) for block in blocks),
            norm_final=read_norm(find(model, architecture.final_norm), architecture),
            w_u=w_u if logit_scale == 1.0 else logit_scale * w_u,
            b_u=None if b_u is None else drop_zero(logit_scale * b_u),
            parallel=architecture.is_parallel(config.to_dict()),
            n_ctx=n_ctx,
            logit_cap=architecture.logit_cap(config),
        )


def find(module: Any, path: str) -> Any:
    """Return the part of `module` at a dotted path.

    Raises:
        UnsupportedModel: there is none.
    """
    part = find_optional(module, path)
    if part is None:
        raise UnsupportedModel(f"'{type(module).__name__}' has no module '{path}'")
    return part


def find_optional(module: Any, path: str) -> Any:
    """Return the part of `module` at a dotted path, `.` for itself; None if there is none."""
    if path in ("", "."):
        return module if path else None
    part = module
    for name in path.split("."):
        part = getattr(part, name, None)
    return part


def _read_positions(
    model: Any, architecture: ModuleArchitecture
) -> Float[Tensor, "position d_model"] | None:
    if not architecture.positions:
        return None
    weight: Tensor = find(model, architecture.positions).weight
    return weight[architecture.position_offset :]


def _read_rotary(
    model: Any, architecture: ModuleArchitecture, layers: Sequence[Any], n_ctx: int
) -> Sequence[Rotary | None]:
    tables = architecture.rotary_tables(model)
    if tables is not None:
        pairs = RotaryPairs(architecture.rotary_pairs)
        return [Rotary(cos, sin, pairs) for cos, sin in tables]
    if not architecture.rotary:
        return [None] * len(layers)
    attentions = [find_optional(layer, architecture.attention) for layer in layers]
    return read_rotary(find(model, architecture.rotary), architecture, attentions, n_ctx)


def _read_block(
    layer: Any, architecture: ModuleArchitecture, config: Any, rotary: Rotary | None
) -> Block:
    norm_attn = _read_norm(layer, architecture.attn_norm, architecture) or NO_NORM
    attention = find(layer, architecture.attention)
    attn = _read_attention(attention, architecture, config, rotary)
    post_attn = _read_norm(layer, architecture.post_attn, architecture)
    check_post_norm(attn, post_attn)
    mlp = find_optional(layer, architecture.mlp)
    norm_mlp = _read_norm(layer, architecture.mlp_norm, architecture) or norm_attn
    block = Block(
        norm_attn=norm_attn,
        attn=attn,
        norm_mlp=None if mlp is None else norm_mlp,
        mlp=None if mlp is None else read_mlp(mlp, architecture, config),
        post_attn=post_attn,
        post_mlp=_read_norm(layer, architecture.post_mlp, architecture),
    )
    return architecture.finish_block(block, layer, config)


def _read_norm(layer: Any, name: str, architecture: ModuleArchitecture) -> Norm | None:
    return read_norm(find(layer, name), architecture) if name else None


def _read_attention(
    attention: Any, architecture: ModuleArchitecture, config: Any, rotary: Rotary | None
) -> Attention:
    heads = architecture.count_heads(attention, config)
    d_head = architecture.head_width(attention, config)
    slots = architecture.slot_projections(attention, config)
    if slots is None:
        slots = _named_projections(attention, architecture, heads, d_head)
    kv_heads = slots["k"][0].shape[0] // d_head
    (w_q, b_q), (w_k, b_k), (w_v, b_v) = (
        _by_head(*slots[slot], heads if slot == "q" else kv_heads) for slot in ("q", "k", "v")
    )
    w_o, b_o = linear(find(attention, architecture.o))
    q_norm, k_norm = (
        read_head_norm(find_optional(attention, name), architecture, count, d_head)
        for name, count in ((architecture.q_norm, heads), (architecture.k_norm, kv_heads))
    )
    attn = Attention(
        w_q=w_q,
        w_k=w_k,
        w_v=w_v,
        w_o=w_o.reshape(heads, -1, w_o.shape[1]),
        b_q=b_q,
        b_k=b_k,
        b_v=b_v,
        b_o=drop_zero(b_o),
        scale=architecture.score_scale(attention),
        rotary=rotary,
        direction="causal",
        window=architecture.window(attention),
        score_cap=architecture.score_cap(attention),
        q_norm=q_norm,
        k_norm=k_norm,
    )
    return architecture.finish_attention(attn, attention, config)


def _by_head(
    weight: Float[Tensor, "out d_model"], bias: Float[Tensor, " out"] | None, heads: int
) -> tuple[Float[Tensor, "head d_model d_head"], Float[Tensor, "head d_head"] | None]:
    bias = drop_zero(bias)
    parts = weight.reshape(heads, -1, weight.shape[1]).transpose(1, 2)
    return parts, None if bias is None else bias.reshape(heads, -1)


def _named_projections(
    attention: Any, architecture: ModuleArchitecture, heads: int, d_head: int
) -> Mapping[str, tuple[Float[Tensor, "_ d_model"], Float[Tensor, " _"] | None]]:
    """Return weight and bias of the three slots, head after head."""
    if not architecture.qkv:
        names = {"q": architecture.q, "k": architecture.k, "v": architecture.v}
        found = {slot: linear(find(attention, name)) for slot, name in names.items()}
        return {slot: (weight.T, bias) for slot, (weight, bias) in found.items()}
    weight, bias = linear(find(attention, architecture.qkv))
    kv_heads = (weight.shape[1] // d_head - heads) // 2
    weights = _split(weight.T, architecture.qkv_split, heads, kv_heads)
    biases: Sequence[Any] = (None, None, None)
    if bias is not None:
        split = _split(bias[:, None], architecture.qkv_split, heads, kv_heads)
        biases = [part[:, 0] for part in split]
    return dict(zip("qkv", zip(weights, biases, strict=True), strict=True))


def _split(
    fused: Float[Tensor, "out d_in"], order: str, heads: int, kv_heads: int
) -> Sequence[Float[Tensor, "_ d_in"]]:
    """Return the rows of q, k and v, each head after head, of one projection."""
    d_head = fused.shape[0] // (heads + 2 * kv_heads)
    if order == "blocks":
        return fused.split([heads * d_head, kv_heads * d_head, kv_heads * d_head])
    # `heads` is `groups` with a key/value head for each query head.
    grouped = fused.reshape(kv_heads, heads // kv_heads + 2, d_head, fused.shape[1])
    parts = grouped[:, :-2], grouped[:, -2], grouped[:, -1]
    return [part.reshape(-1, fused.shape[1]) for part in parts]
