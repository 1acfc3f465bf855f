"""Queries, keys and values as affine functions of the residual stream.

With the scales of all norms frozen at a run, a slot of a head is affine in the stream, so that it
is a sum over what was written there: centring, projection and rotation are linear (Elhage et al.
2021, "A Mathematical Framework for Transformer Circuits").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.engine.components import normalise
from acdc_pipeline.engine.slots import (
    latent_parts,
    project_slot,
    rotate,
    split_gate,
)
from acdc_pipeline.graph import Slot
from acdc_pipeline.heads.answers import frozen_scale
from acdc_pipeline.models.weights import (
    Attention,
    Block,
    HeadNorm,
    Latent,
    Norm,
    Rotary,
)


@dataclass(frozen=True)
class FrozenSlot:
    """One slot of one head, with the scales that its norms have in a run.

    Args:
        norm, scale: of the layer's input; the scale at each position.
        latent, latent_scales: what the matrix reads instead of the normalised input.
        matrix, bias: of the head, without the columns of a gate.
        head_norm, head_scale: of the projection; the scale at each position.
        row: the row of the norm's weights.
        rotary, query_scale: those of queries and keys, if any.
    """

    norm: Norm
    scale: Float[Tensor, " pos"]
    latent: Latent | None
    latent_scales: tuple[Float[Tensor, " pos"], ...]
    matrix: Float[Tensor, "d_in d_out"]
    bias: Float[Tensor, " d_out"] | None
    head_norm: HeadNorm | None
    head_scale: Float[Tensor, "pos 1"] | None
    row: int
    rotary: Rotary | None
    query_scale: Float[Tensor, " position"] | None

    def project(
        self,
        x: Float[Tensor, "n at d_model"],
        at: Int[Tensor, " at"],
        *,
        constant: bool = False,
    ) -> Float[Tensor, "n at d_out"]:
        """What parts `x` of the stream at positions `at` add to the slot, before rotation.

        Args:
            constant: whether to add the biases, which do not depend on the stream.
        """
        x = _frozen_norm(x, self.norm, self.scale[at], constant)
        if self.latent is not None:
            parts = latent_parts(self.latent if constant else _without_bias(self.latent), x)
            norms = (self.latent.norm, self.latent.direct_norm)
            scaled = [
                part if norm is None else _frozen_norm(part, norm, scale[at], constant)
                for part, norm, scale in zip(parts, norms, self.latent_scales, strict=False)
            ]
            x = torch.cat(scaled, dim=-1)
        x = x @ self.matrix
        if constant and self.bias is not None:
            x = x + self.bias
        is_next = self.head_norm is not None and not self.head_norm.after_rotation
        return self._normalise(x, at, constant) if is_next else x

    def rotate(
        self,
        x: Float[Tensor, "n at d_out"],
        at: Int[Tensor, " at"],
        *,
        constant: bool = False,
    ) -> Float[Tensor, "n at d_out"]:
        """Rotation, norms after it and the scale of queries; arguments as those of `project`."""
        if self.rotary is not None:
            x = rotate(x, self.rotary, at)
        if self.head_norm is not None and self.head_norm.after_rotation:
            x = self._normalise(x, at, constant)
        return x if self.query_scale is None else x * self.query_scale[at][:, None]

    def _normalise(self, x: Tensor, at: Tensor, constant: bool) -> Tensor:
        norm = self.head_norm
        assert norm is not None
        assert self.head_scale is not None
        if norm.kind == "layer":
            x = x - x.mean(dim=-1, keepdim=True)
        x = x * self.head_scale[at]
        if norm.weight is not None:
            x = x * norm.weight[self.row]
        return x + norm.bias[self.row] if constant and norm.bias is not None else x


class FrozenLayer:
    """The slots of a layer's heads in a run of one row of tokens.

    Args:
        block: the layer.
        stream: the residual stream before it.
        slots: the slots to return.
    """

    def __init__(
        self, block: Block, stream: Float[Tensor, "pos d_model"], slots: Sequence[Slot]
    ) -> None:
        attn = block.attention
        self._block = block
        self._scale = frozen_scale(stream, block.norm_attn)
        normed = normalise(stream, block.norm_attn)
        self._latent_scales = {slot: _latent_scales(attn.latents[slot], normed) for slot in slots}
        self._head_scales = {slot: _head_scales(attn, slot, normed) for slot in slots}

    def slot(self, slot: Slot, head: int) -> FrozenSlot:
        """One slot of the query head `head`, whose matrix is a copy."""
        attn = self._block.attention
        row = head if slot == "q" else head // attn.heads_per_kv
        width = attn.d_qk if slot == "q" else attn.matrices[slot].shape[2]
        bias, scales = attn.biases[slot], self._head_scales[slot]
        return FrozenSlot(
            norm=self._block.norm_attn,
            scale=self._scale,
            latent=attn.latents[slot],
            latent_scales=self._latent_scales[slot],
            matrix=attn.matrices[slot][row, :, :width].to(self._scale.dtype, copy=True),
            bias=None if bias is None else bias[row, :width].to(self._scale.dtype, copy=True),
            head_norm=attn.norms[slot],
            head_scale=None if scales is None else scales[row],
            row=row,
            rotary=None if slot == "v" else attn.rotary,
            query_scale=attn.query_scale if slot == "q" else None,
        )


def _frozen_norm(x: Tensor, norm: Norm, scale: Float[Tensor, " at"], constant: bool) -> Tensor:
    if norm.kind == "none":
        return x
    if norm.kind == "layer":
        x = x - x.mean(dim=-1, keepdim=True)
    x = x * scale[:, None]
    if norm.weight is not None:
        x = x * norm.weight
    return x + norm.bias if constant and norm.bias is not None else x


def _without_bias(latent: Latent) -> Latent:
    return Latent(latent.down, None, latent.norm, latent.direct, latent.direct_norm)


def _latent_scales(
    latent: Latent | None, normed: Float[Tensor, "pos d_model"]
) -> tuple[Float[Tensor, " pos"], ...]:
    if latent is None:
        return ()
    plain = Norm("none", None, None, 0.0)
    norms = (latent.norm, latent.direct_norm)
    parts = latent_parts(latent, normed)
    return tuple(
        frozen_scale(part, norm or plain) for part, norm in zip(parts, norms, strict=False)
    )


def _head_scales(
    attn: Attention, slot: Slot, normed: Float[Tensor, "pos d_model"]
) -> Float[Tensor, "row pos 1"] | None:
    """The factor of the norm of a slot for each row of its weights; None without one."""
    norm = attn.norms[slot]
    if norm is None:
        return None
    every = range(attn.w_q.shape[0])
    heads = every if slot == "q" else every[:: attn.heads_per_kv]
    x = project_slot(attn, slot, heads, normed[None])
    if slot == "q":
        x, _ = split_gate(attn, x)
    if norm.after_rotation and attn.rotary is not None and slot != "v":
        x = rotate(x, attn.rotary, torch.arange(x.shape[1], device=x.device))
    if norm.kind == "layer":
        return torch.rsqrt(x.var(dim=-1, correction=0, keepdim=True) + norm.eps)
    axes = -1 if norm.across == "head" else (0, -1)
    scale = torch.rsqrt(x.square().mean(dim=axes, keepdim=True) + norm.eps)
    return scale.expand(len(x), -1, 1)
