"""One layer at a time, with every head's pattern, values and output in sight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from acdc_pipeline.engine.components import (
    attention_pattern,
    normalise,
    normalise_heads,
    project,
    rotate,
    widened,
)
from acdc_pipeline.engine.forward import check_tokens, embed, mlp_written, visible_keys
from acdc_pipeline.heads.edits import NO_EDITS, Edits
from acdc_pipeline.models.weights import Block, TransformerWeights


@dataclass(frozen=True)
class LayerRun:
    """The attention of one layer, taken apart.

    Args:
        layer: which.
        block: its weights.
        pattern: attention after softmax.
        values: what each head would carry from each position, its value bias included.
        written: what each head writes, after any norm behind attention, edits included.
        post_scale: what that norm divides by at each position, as a factor; None without one.
        stream: the residual stream before this layer.
        attended: the residual stream with all heads of this layer.
    """

    layer: int
    block: Block
    pattern: Float[Tensor, "head batch pos pos"]
    values: Float[Tensor, "head batch pos d_head"]
    written: Float[Tensor, "head batch pos d_model"]
    post_scale: Float[Tensor, "batch pos 1"] | None
    stream: Float[Tensor, "batch pos d_model"]
    attended: Float[Tensor, "batch pos d_model"]

    def into_stream(
        self, carried: Float[Tensor, "head batch n d_head"], at: Int[Tensor, " n"]
    ) -> Float[Tensor, "head batch n d_model"]:
        """What the heads write at positions `at` when they carry `carried` there."""
        out = torch.matmul(carried, widened(self.block.attn.w_o, carried)[:, None])
        if self.post_scale is None:
            return out
        return self._normed(out, self.post_scale[:, at])

    def _normed(self, out: Tensor, scale: Tensor) -> Tensor:
        assert self.block.post_attn is not None, "a scale comes from a norm"
        weight = self.block.post_attn.weight
        return out * scale if weight is None else out * scale * weight


def attend(
    weights: TransformerWeights,
    layer: int,
    stream: Float[Tensor, "batch pos d_model"],
    edits: Edits = NO_EDITS,
) -> LayerRun:
    """The attention of `layer` on a residual stream."""
    block = weights.blocks[layer]
    pattern, values = _patterns_and_values(block, stream, edits.query_shifts_in(layer))
    written = torch.matmul(pattern @ values, widened(block.attn.w_o, values)[:, None])
    post_scale = None
    if block.post_attn is not None:
        total = written.sum(0)
        mean_square = total.square().mean(dim=-1, keepdim=True)
        post_scale = torch.rsqrt(mean_square + block.post_attn.eps)
        written = written * post_scale
        if block.post_attn.weight is not None:
            written = written * block.post_attn.weight
    for head, replacement in edits.written_in(layer):
        written[head] = replacement
    attended = _with_bias(block, stream + written.sum(0))
    return LayerRun(layer, block, pattern, values, written, post_scale, stream, attended)


def attend_together(
    weights: TransformerWeights,
    layer: int,
    stream: Float[Tensor, "batch pos d_model"],
    edits: Edits = NO_EDITS,
) -> Float[Tensor, "batch pos d_model"]:
    """The residual stream with all heads of `layer`: `attend`, with nothing taken apart.

    No head of `layer` may be one that `edits` lets write something else.
    """
    block = weights.blocks[layer]
    pattern, values = _patterns_and_values(block, stream, edits.query_shifts_in(layer))
    carried = (pattern @ values).permute(1, 2, 0, 3).flatten(2)
    written = carried @ widened(block.attn.w_o, carried).flatten(0, 1)
    if block.post_attn is not None:
        written = normalise(written, block.post_attn)
    return _with_bias(block, stream + written)


def after_mlp(
    weights: TransformerWeights,
    layer: int,
    stream: Float[Tensor, "batch pos d_model"],
    attended: Float[Tensor, "batch pos d_model"],
) -> Float[Tensor, "batch pos d_model"]:
    """The residual stream behind `layer`, from those before it and behind its attention."""
    block = weights.blocks[layer]
    if block.mlp is None:
        return attended
    return attended + mlp_written(block, stream if weights.parallel else attended)


def run_layers(
    weights: TransformerWeights,
    stream: Float[Tensor, "batch pos d_model"],
    *,
    first: int = 0,
    edits: Edits = NO_EDITS,
    visit: Callable[[LayerRun], None] | None = None,
) -> Float[Tensor, "batch pos d_model"]:
    """The final residual stream, from the one before layer `first`; `visit` sees each layer."""
    for layer in range(first, len(weights.blocks)):
        if visit is None and not edits.written_in(layer):
            attended = attend_together(weights, layer, stream, edits)
        else:
            run = attend(weights, layer, stream, edits)
            attended = run.attended
            if visit is not None:
                visit(run)
        stream = after_mlp(weights, layer, stream, attended)
    return stream


def run_tokens(
    weights: TransformerWeights,
    tokens: Int[Tensor, "batch pos"],
    *,
    edits: Edits = NO_EDITS,
    visit: Callable[[LayerRun], None] | None = None,
) -> Float[Tensor, "batch pos d_model"]:
    """`run_layers` from the first layer on.

    Raises:
        PromptError: the prompts are longer than the model's context, or name unknown tokens.
    """
    check_tokens(weights, tokens)
    return run_layers(weights, embed(weights, tokens), edits=edits, visit=visit)


def _with_bias(
    block: Block, stream: Float[Tensor, "batch pos d_model"]
) -> Float[Tensor, "batch pos d_model"]:
    return stream if block.attn.b_o is None else stream + block.attn.b_o


def _patterns_and_values(
    block: Block, stream: Float[Tensor, "batch pos d_model"], query_shifts: list[tuple[int, Tensor]]
) -> tuple[Float[Tensor, "head batch pos pos"], Float[Tensor, "head batch pos d_head"]]:
    """The attention of every head, and what it would carry from each position."""
    attn = block.attn
    size = stream.shape[:2]
    rows = normalise(stream, block.norm_attn).flatten(0, 1)[None]
    q = project(rows, attn.w_q, attn.b_q).unflatten(1, size)
    k = project(rows, attn.w_k, attn.b_k).unflatten(1, size)
    v = project(rows, attn.w_v, attn.b_v).unflatten(1, size)
    for head, shift in query_shifts:
        shifted = normalise(stream + shift, block.norm_attn).flatten(0, 1)[None]
        bias = None if attn.b_q is None else attn.b_q[head : head + 1]
        q[head] = project(shifted, attn.w_q[head : head + 1], bias)[0].unflatten(0, size)
    if attn.q_norm is not None:
        q = normalise_heads(q, attn.q_norm, range(len(q)))
    if attn.k_norm is not None:
        k = normalise_heads(k, attn.k_norm, range(len(k)))
    if attn.rotary is not None:
        positions = torch.arange(size[1], device=stream.device)
        q, k = rotate(q, attn.rotary, positions), rotate(k, attn.rotary, positions)
    if attn.heads_per_kv > 1:
        k = k.repeat_interleave(attn.heads_per_kv, dim=0)
        v = v.repeat_interleave(attn.heads_per_kv, dim=0)
    return attention_pattern(q, k, attn, visible_keys(attn, size[1], stream.device)), v
