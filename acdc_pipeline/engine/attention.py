"""The attention of one layer, head by head: projections, pattern and output."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from acdc_pipeline.engine.components import (
    Stream,
    normalise,
    normalise_parts,
    project,
    soft_cap,
    widen,
)
from acdc_pipeline.graph import SLOTS, Slot
from acdc_pipeline.models.weights import Attention, Block, HeadNorm, Rotary, RotaryPairs

Slots = dict[Slot, Float[Tensor, "head batch pos d_head"]]
"""Queries, keys and values of query heads, as projected: before norms and rotation."""


def run_heads(
    attn: Attention, x: Stream, allowed: Bool[Tensor, "pos pos"]
) -> Float[Tensor, "head batch pos d_model"]:
    """The outputs of all heads of a layer for one normalised input, before any norm after them."""
    batch, pos, _ = x.shape
    rows = x.reshape(1, batch * pos, -1)
    matrices = (attn.w_q, attn.b_q), (attn.w_k, attn.b_k), (attn.w_v, attn.b_v)
    q, k, v = (project(rows, w, b).unflatten(1, (batch, pos)) for w, b in matrices)
    if attn.q_norm is not None:
        q = normalise_heads(q, attn.q_norm, range(len(q)))
    if attn.k_norm is not None:
        k = normalise_heads(k, attn.k_norm, range(len(k)))
    if attn.rotary is not None:
        positions = torch.arange(pos, device=x.device)
        q, k = rotate(q, attn.rotary, positions), rotate(k, attn.rotary, positions)
    if attn.heads_per_kv > 1:
        k, v = (part.repeat_interleave(attn.heads_per_kv, dim=0) for part in (k, v))
    z = attention_pattern(q, k, attn, allowed) @ v
    return torch.matmul(z, widen(attn.w_o, z)[:, None])


def project_slots(attn: Attention, x: Stream) -> Slots:
    """The queries, keys and values of every query head for one normalised input.

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
    """The projection matrices and biases of some query heads' `slot`."""
    weight, bias = {
        "q": (attn.w_q, attn.b_q),
        "k": (attn.w_k, attn.b_k),
        "v": (attn.w_v, attn.b_v),
    }[slot]
    rows = _weight_rows(attn, slot, heads)
    if rows == list(range(len(weight))):  # all rows: without a copy
        return weight, bias
    return weight[rows], None if bias is None else bias[rows]


def _weight_rows(attn: Attention, slot: Slot, heads: Sequence[int]) -> list[int]:
    """The rows of a slot's weights that belong to these query heads."""
    return [head if slot == "q" else head // attn.heads_per_kv for head in heads]


def attend(
    block: Block,
    heads: Sequence[int],
    slots: Slots,
    allowed: Bool[Tensor, "pos pos"],
) -> Float[Tensor, "head batch pos d_model"]:
    """The outputs of these query heads, from their projections.

    If heads depend on one another (`Block.coupled`), all heads of the layer must be given.
    """
    z = _mix_values(block.attn, heads, slots, allowed)
    w_o = block.attn.w_o
    if list(heads) != list(range(len(w_o))):
        w_o = w_o[list(heads)]
    rows = project(z.flatten(1, 2), w_o, None)
    return normalise_outputs(block, rows.unflatten(1, z.shape[1:3]))


def normalise_outputs(
    block: Block, written: Float[Tensor, "head batch pos d_model"]
) -> Float[Tensor, "head batch pos d_model"]:
    """Each head's share of what the norm after attention, if any, makes of their sum."""
    norm = block.post_attn
    return written if norm is None else normalise_parts(written, written.sum(0), norm)


def run_attention(block: Block, stream: Stream) -> Stream:
    """The sum of the outputs of all heads of a layer that read the same stream."""
    attn = block.attn
    slots = project_slots(attn, normalise(stream, block.norm_attn))
    allowed = visible_keys(attn, stream.shape[1], stream.device)
    z = _mix_values(attn, range(attn.w_q.shape[0]), slots, allowed)
    flat = z.permute(1, 2, 0, 3).flatten(2)
    total = flat @ widen(attn.w_o, flat).flatten(0, 1)
    return total if block.post_attn is None else normalise(total, block.post_attn)


def _mix_values(
    attn: Attention, heads: Sequence[int], slots: Slots, allowed: Bool[Tensor, "pos pos"]
) -> Float[Tensor, "head batch pos d_head"]:
    """Each head's values, summed with its attention pattern as weights."""
    positions = torch.arange(slots["q"].shape[2], device=slots["q"].device)
    q, k = (normalise_and_rotate(slots[slot], attn, slot, heads, positions) for slot in ("q", "k"))
    return attention_pattern(q, k, attn, allowed) @ slots["v"]


def normalise_and_rotate(
    x: Float[Tensor, "n *lead pos d_head"],
    attn: Attention,
    slot: Slot,
    heads: Sequence[int],
    positions: Int[Tensor, "*at"],
) -> Float[Tensor, "n *lead pos d_head"]:
    """Queries or keys of query heads as attention uses them: normalised, then rotated."""
    norm = attn.q_norm if slot == "q" else attn.k_norm
    if norm is not None:
        x = normalise_heads(x, norm, _weight_rows(attn, slot, heads))
    return x if attn.rotary is None else rotate(x, attn.rotary, positions)


def normalise_heads(
    x: Float[Tensor, "n *lead d_head"], norm: HeadNorm, rows: Sequence[int]
) -> Float[Tensor, "n *lead d_head"]:
    """Normalise the queries or keys of n heads, whose weights are these rows of the norm's.

    A norm across the layer needs all its heads at once.
    """
    weight = norm.weight[rows].reshape(len(rows), *[1] * (x.dim() - 2), -1)
    if norm.kind == "layer":
        return functional.layer_norm(x, x.shape[-1:], None, None, norm.eps) * weight
    if norm.across == "head":
        return functional.rms_norm(x, x.shape[-1:], None, norm.eps) * weight
    mean_square = x.square().mean(dim=(0, -1), keepdim=True)
    return x * torch.rsqrt(mean_square + norm.eps) * weight


def rotate(
    x: Float[Tensor, "*lead pos d_head"], rotary: Rotary, positions: Int[Tensor, "*at"]
) -> Float[Tensor, "*lead pos d_head"]:
    """Apply the rotary position embedding to queries or keys at `positions`.

    `positions` broadcasts against the axes of `x` before the last.
    """
    cos, sin = rotary.cos[positions], rotary.sin[positions]
    width = cos.shape[-1]
    rotated, rest = x[..., :width], x[..., width:]
    out = rotated * cos
    # The first and the second dimension of every pair that rotates together.
    first, second = slice(0, width, 2), slice(1, width, 2)
    if rotary.pairs is RotaryPairs.HALVES:
        first, second = slice(0, width // 2), slice(width // 2, width)
    # In place, pair by pair: a copy of the partners would cost more than all products.
    out[..., first].addcmul_(rotated[..., second], sin[..., first], value=-1)
    out[..., second].addcmul_(rotated[..., first], sin[..., second])
    return torch.cat((out, rest), dim=-1) if rest.shape[-1] else out


def attention_pattern(
    q: Float[Tensor, "*lead query d_head"],
    k: Float[Tensor, "*lead_k key d_head"],
    attn: Attention,
    allowed: Bool[Tensor, "*at query key"],
) -> Float[Tensor, "*out query key"]:
    """Softmax of scaled and capped q·k over the keys that each query may see."""
    scores = soft_cap(torch.matmul(q, k.transpose(-2, -1)) * attn.scale, attn.score_cap)
    return scores.masked_fill(~allowed, float("-inf")).softmax(dim=-1)


def visible_keys(attn: Attention, pos: int, device: torch.device) -> Bool[Tensor, "pos pos"]:
    """The keys that each query position may see."""
    full = torch.ones(pos, pos, dtype=torch.bool, device=device)
    if attn.direction == "bidirectional":
        return full
    causal = full.tril()
    return causal if attn.window is None else causal.triu(1 - attn.window)
