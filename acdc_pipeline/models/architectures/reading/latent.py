"""Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1) of a model's modules."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from acdc_pipeline.models.architectures.layout import ModuleArchitecture, find, find_optional
from acdc_pipeline.models.architectures.reading.blocks import drop_zero, linear
from acdc_pipeline.models.architectures.reading.norms import read_norm
from acdc_pipeline.models.architectures.reading.slots import Slots, gate_kind, read_gate
from acdc_pipeline.models.weights import Latent


def read_latent_slots(attention: Any, architecture: ModuleArchitecture, config: Any) -> Slots:
    """Return matrices and latents of the three slots.

    Keys are made of the latent of keys and values, and of `rope` further columns of its projection
    that all heads share and that are rotated. The module rotates the last columns of queries and
    keys; here they are the first. Where it rotates neighbouring columns, these are put in halves.
    """
    heads = architecture.count_heads(attention, config)
    rope = int(attention.qk_rope_head_dim)
    turned = _turned(rope, architecture.latent_interleaved(config))
    slots = _read_queries(attention, architecture, heads, turned)

    down, bias = linear(find(attention, architecture.kv_down))
    rank = down.shape[1] - rope
    norm = read_norm(find(attention, architecture.kv_latent_norm), architecture)
    low_bias = None if bias is None else drop_zero(bias[:rank])
    values = Latent(down[:, :rank], low_bias, norm)
    keys = Latent(down[:, :rank], low_bias, norm, down[:, rank:][:, turned])

    up, _ = linear(find(attention, architecture.kv_up))
    by_head = up.T.reshape(heads, -1, rank).transpose(1, 2)
    nope = int(attention.qk_nope_head_dim)
    read_gate(slots, attention, architecture, heads)
    w_k = up.new_zeros(heads, rank + rope, rope + nope)
    w_k[:, :rank, rope:] = by_head[..., :nope]
    w_k[:, rank:, :rope] = torch.eye(rope, dtype=up.dtype)
    b_k = None
    if bias is not None and bool(bias[rank:].any()):
        b_k = up.new_zeros(heads, rope + nope)
        b_k[:, :rope] = bias[rank:][turned]
    return {
        **slots,
        "gate": gate_kind(slots["w_q"].shape[2] - rope - nope, by_head.shape[2] - nope),
        "w_k": w_k,
        "b_k": b_k,
        "w_v": by_head[..., nope:],
        "b_v": None,
        "k_latent": keys,
        "v_latent": values,
    }


def _read_queries(
    attention: Any, architecture: ModuleArchitecture, heads: int, turned: Tensor
) -> Slots:
    """Return matrix, bias and latent of the queries; models may have no latent for them."""
    latent = None
    up = find_optional(attention, architecture.q_down)
    if up is None:
        up = find(attention, architecture.q)
    else:
        down, bias = linear(up)
        norm = read_norm(find(attention, architecture.q_latent_norm), architecture)
        latent = Latent(down, drop_zero(bias), norm)
        up = find(attention, architecture.q_up)
    weight, bias = linear(up)
    w_q = _rotated_first(weight.reshape(weight.shape[0], heads, -1).transpose(0, 1), turned)
    bias = drop_zero(bias)
    b_q = None if bias is None else _rotated_first(bias.reshape(heads, -1), turned)
    return {"w_q": w_q, "b_q": b_q, "q_latent": latent}


def _turned(rope: int, interleaved: bool) -> Tensor:
    """Return the order of rotated columns in which the pairs are in halves."""
    order = torch.arange(rope)
    return torch.cat([order[0::2], order[1::2]]) if interleaved else order


def _rotated_first(
    columns: Float[Tensor, "*rows d_qk"], turned: Tensor
) -> Float[Tensor, "*rows d_qk"]:
    plain = columns.shape[-1] - len(turned)
    return torch.cat([columns[..., plain:][..., turned], columns[..., :plain]], -1)
