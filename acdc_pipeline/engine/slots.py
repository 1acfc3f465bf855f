"""The queries, keys and values of heads, from the layer's input to what attention multiplies."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from acdc_pipeline.engine.components import (
    Stream,
    normalise,
    project,
    project_normalised,
    widen,
)
from acdc_pipeline.graph import SLOTS, Slot
from acdc_pipeline.models.weights import Attention, Block, HeadNorm, Latent, Rotary, RotaryPairs

Slots = dict[Slot, Float[Tensor, "head batch pos _"]]
"""Queries, keys and values of query heads, as projected: before norms and rotation.

Queries have the columns of a gate after their own.
"""


def project_slots(attn: Attention, x: Stream) -> Slots:
    """The queries, keys and values of every query head for one normalised input.

    Under grouped-query attention each head gets its own copy of its group's keys and values.
    """
    every = range(attn.w_q.shape[0])
    rows = x.reshape(1, -1, x.shape[-1])
    return {slot: project_slot(attn, slot, every, rows).unflatten(1, x.shape[:2]) for slot in SLOTS}


def project_slot(
    attn: Attention, slot: Slot, heads: Sequence[int], x: Float[Tensor, "n_in rows d_model"]
) -> Float[Tensor, "n rows d_out"]:
    """One slot of some query heads, for their normalised inputs or for one that all read."""
    return project(slot_input(attn, slot, x), *slot_weights(attn, slot, heads))


def project_stream(
    block: Block, slot: Slot, heads: Sequence[int], x: Float[Tensor, "n_in rows d_model"]
) -> Float[Tensor, "n rows d_out"]:
    """`project_slot` of inputs before the block's norm. Differentiable by `x` alone."""
    if block.attention.latents[slot] is None:
        return project_normalised(block.norm_attn, x, *slot_weights(block.attention, slot, heads))
    return project_slot(block.attention, slot, heads, normalise(x, block.norm_attn))


def slot_input(
    attn: Attention, slot: Slot, x: Float[Tensor, "n_in rows d_model"]
) -> Float[Tensor, "n_in rows d_in"]:
    """What the matrices of a slot read, from the layer's normalised input."""
    latent = attn.latents[slot]
    return x if latent is None else join_latent(latent, latent_parts(latent, x))


def latent_parts(
    latent: Latent, x: Float[Tensor, "*rows d_model"]
) -> list[Float[Tensor, "*rows _"]]:
    """The parts of a latent before their norms, from the layer's normalised input."""
    down = x @ widen(latent.down, x)
    if latent.bias is not None:
        down = down + latent.bias
    return [down] if latent.direct is None else [down, x @ widen(latent.direct, x)]


def join_latent(
    latent: Latent, parts: Sequence[Float[Tensor, "*rows _"]]
) -> Float[Tensor, "*rows d_in"]:
    """Normalise the parts of a latent and concatenate them."""
    normalised = [
        part if norm is None else normalise(part, norm)
        for part, norm in zip(parts, (latent.norm, latent.direct_norm), strict=False)
    ]
    return torch.cat(normalised, dim=-1) if len(normalised) > 1 else normalised[0]


def slot_weights(
    attn: Attention, slot: Slot, heads: Sequence[int]
) -> tuple[Float[Tensor, "n d_in d_out"], Float[Tensor, "n d_out"] | None]:
    """The projection matrices and biases of some query heads' `slot`."""
    weight, bias = attn.matrices[slot], attn.biases[slot]
    rows = _weight_rows(attn, slot, heads)
    if rows == list(range(len(weight))):  # all rows: without a copy
        return weight, bias
    at = torch.tensor(rows, device=weight.device)
    return weight.index_select(0, at), None if bias is None else bias.index_select(0, at)


def _weight_rows(attn: Attention, slot: Slot, heads: Sequence[int]) -> list[int]:
    """The rows of a slot's weights that belong to these query heads."""
    return [head if slot == "q" else head // attn.heads_per_kv for head in heads]


def split_gate(
    attn: Attention, q: Float[Tensor, "*lead q_out"]
) -> tuple[Float[Tensor, "*lead d_qk"], Float[Tensor, "*lead width"] | None]:
    """Projected queries without their gate, and the factors of the mixed values; None without."""
    if attn.gate is None:
        return q, None
    gate = q[..., attn.d_qk :]
    function = functional.softplus if attn.gate_function == "softplus" else torch.sigmoid
    return q[..., : attn.d_qk], function(gate)


def normalise_mixed(
    attn: Attention, z: Float[Tensor, "head *lead d_v"]
) -> Float[Tensor, "head *lead d_v"]:
    """What heads carry, normalised where there is a norm before the output projection.

    Args:
        z: the mixed values, times their gates; of all heads where one norm spans them.
    """
    scale = mixed_scale(attn, z, 0)
    return z if scale is None else z * scale


def mixed_scale(
    attn: Attention, z: Float[Tensor, "*shape"], head_axis: int
) -> Float[Tensor, "*ones"] | None:
    """The factor of the norm of what heads carry; None without one.

    That is one factor for all heads (`Attention.z_norm_eps`), or one for each (`Difference`).

    Args:
        z: as `normalise_mixed`, with the heads on `head_axis` and their dimensions on the last.
    """
    if attn.z_norm_eps is not None:
        mean_square = z.square().mean(dim=(head_axis, -1), keepdim=True)
        return torch.rsqrt(mean_square + attn.z_norm_eps)
    if attn.difference is None:
        return None
    mean_square = z.square().mean(dim=-1, keepdim=True)
    return attn.difference.scale * torch.rsqrt(mean_square + attn.difference.eps)


def finish_slot(
    x: Float[Tensor, "n *lead pos d_out"],
    attn: Attention,
    slot: Slot,
    heads: Sequence[int],
    positions: Int[Tensor, "*at"],
) -> Float[Tensor, "n *lead pos d_out"]:
    """One slot of query heads as attention uses it: normalised, clamped, rotated, scaled.

    Args:
        x: as projected, queries without their gate.
        positions: broadcast against the axes of `x` before the last.
    """
    return finish_rows(x, attn, slot, _weight_rows(attn, slot, heads), positions)


def finish_rows(
    x: Float[Tensor, "n *lead pos d_out"],
    attn: Attention,
    slot: Slot,
    rows: Sequence[int],
    positions: Int[Tensor, "*at"],
) -> Float[Tensor, "n *lead pos d_out"]:
    """`finish_slot` of rows of the slot's weights: query heads, or key/value heads."""
    norm = attn.norms[slot]
    if norm is not None and not norm.after_rotation:
        x = normalise_heads(x, norm, rows)
    if attn.clip is not None:
        x = x.clamp(-attn.clip, attn.clip)
    if slot == "v":
        return x
    if attn.rotary is not None:
        parts = (x,) if attn.difference is None else x.chunk(2, dim=-1)
        rotated = [rotate(part, attn.rotary, positions) for part in parts]
        x = rotated[0] if len(rotated) == 1 else torch.cat(rotated, dim=-1)
    if norm is not None and norm.after_rotation:
        x = normalise_heads(x, norm, rows)
    if slot == "q" and attn.query_scale is not None:
        x = x * attn.query_scale[positions][..., None]
    return x


def normalise_heads(
    x: Float[Tensor, "n *lead d_head"], norm: HeadNorm, rows: Sequence[int]
) -> Float[Tensor, "n *lead d_head"]:
    """Normalise a slot of n heads, whose weights are these rows of the norm's.

    A norm across the layer needs all its heads at once.
    """

    def by_head(parameter: Float[Tensor, "head d_head"]) -> Float[Tensor, "n *lead d_head"]:
        return parameter[rows].reshape(len(rows), *[1] * (x.dim() - 2), -1)

    if norm.kind == "layer":
        out = functional.layer_norm(x, x.shape[-1:], None, None, norm.eps)
    elif norm.across == "head":
        out = functional.rms_norm(x, x.shape[-1:], None, norm.eps)
    else:
        mean_square = x.square().mean(dim=(0, -1), keepdim=True)
        out = x * torch.rsqrt(mean_square + norm.eps)
    if norm.weight is not None:
        out = out * by_head(norm.weight)
    return out if norm.bias is None else out + by_head(norm.bias)


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
