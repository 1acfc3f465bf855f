"""All heads of one layer, cut open between what they project and what they do with it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from acdc_pipeline.engine.components import (
    attention_pattern,
    normalise,
    normalise_heads,
    project,
    rotate,
    shares,
    widened,
)
from acdc_pipeline.engine.forward import visible_keys
from acdc_pipeline.graph import SLOTS, Slot
from acdc_pipeline.models.weights import Attention, Block

Slots = dict[Slot, Float[Tensor, "head batch pos d_head"]]
"""Queries, keys and values of query heads, as projected: before norms and rotation."""


def project_slots(attn: Attention, x: Float[Tensor, "batch pos d_model"]) -> Slots:
    """What every query head makes of the same normalised input.

    Under grouped-query attention each head gets its own copy of its group's keys and values.
    """
    every = range(attn.w_q.shape[0])
    rows = x.reshape(1, -1, x.shape[-1])
    out: Slots = {}
    for slot in SLOTS:
        weight, bias = slot_weights(attn, slot, every)
        out[slot] = project(rows, weight, bias).unflatten(1, x.shape[:2])
    return out


def slot_weights(
    attn: Attention, slot: Slot, heads: Sequence[int]
) -> tuple[Float[Tensor, "n d_model d_head"], Float[Tensor, "n d_head"] | None]:
    """What projects the `slot` of these query heads."""
    weight, bias = {
        "q": (attn.w_q, attn.b_q),
        "k": (attn.w_k, attn.b_k),
        "v": (attn.w_v, attn.b_v),
    }[slot]
    rows = weight_rows(attn, slot, heads)
    if rows == list(range(len(weight))):
        return weight, bias
    return weight[rows], None if bias is None else bias[rows]


def weight_rows(attn: Attention, slot: Slot, heads: Sequence[int]) -> list[int]:
    """Where the weights of these query heads' `slot` are."""
    return [head if slot == "q" else head // attn.heads_per_kv for head in heads]


def attend(
    block: Block,
    heads: Sequence[int],
    slots: Slots,
    allowed: Bool[Tensor, "pos pos"],
) -> Float[Tensor, "head batch pos d_model"]:
    """What each of these query heads writes, from their projections.

    Where heads move one another (`Block.coupled`), all heads of the layer have to be there.
    """
    z = _gathered(block.attn, heads, slots, allowed)
    w_o = block.attn.w_o
    if list(heads) != list(range(len(w_o))):
        w_o = w_o[list(heads)]
    rows = project(z.flatten(1, 2), w_o, None)
    written = rows.unflatten(1, z.shape[1:3])
    if block.post_attn is None:
        return written
    return shares(written, written.sum(0), block.post_attn)


def attention_written(
    block: Block, stream: Float[Tensor, "batch pos d_model"]
) -> Float[Tensor, "batch pos d_model"]:
    """What all heads of a layer write together when they read the same stream."""
    attn = block.attn
    slots = project_slots(attn, normalise(stream, block.norm_attn))
    allowed = visible_keys(attn, stream.shape[1], stream.device)
    z = _gathered(attn, range(attn.w_q.shape[0]), slots, allowed)
    flat = z.permute(1, 2, 0, 3).flatten(2)
    total = flat @ widened(attn.w_o, flat).flatten(0, 1)
    return total if block.post_attn is None else normalise(total, block.post_attn)


def _gathered(
    attn: Attention, heads: Sequence[int], slots: Slots, allowed: Bool[Tensor, "pos pos"]
) -> Float[Tensor, "head batch pos d_head"]:
    """The values that each head gathers over the positions it attends to."""
    q, k = slots["q"], slots["k"]
    if attn.q_norm is not None:
        q = normalise_heads(q, attn.q_norm, weight_rows(attn, "q", heads))
    if attn.k_norm is not None:
        k = normalise_heads(k, attn.k_norm, weight_rows(attn, "k", heads))
    if attn.rotary is not None:
        positions = torch.arange(q.shape[2], device=q.device)
        q, k = rotate(q, attn.rotary, positions), rotate(k, attn.rotary, positions)
    return attention_pattern(q, k, attn, allowed) @ slots["v"]
